#include "virtio_net/counters.h"

namespace lambdo::virtio_net {

std::string_view drop_name(Drop drop) {
  switch (drop) {
    case Drop::malformed:
      return "malformed";
    case Drop::bad_offload:
      return "bad_offload";
    case Drop::too_long:
      return "too_long";
    case Drop::foreign_source:
      return "foreign_source";
    case Drop::no_buffers:
      return "no_buffers";
    case Drop::link_down:
      return "link_down";
    case Drop::refused_by_kernel:
      return "refused_by_kernel";
  }
  return "unknown";
}

}  // namespace lambdo::virtio_net
