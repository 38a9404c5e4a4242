#include "virtio/device.h"

#include <algorithm>

namespace lambdo::virtio {

void ActivationContext::signal_used_queues() const {
  for (uint16_t index = 0; index < queues.size(); ++index) {
    if (queues[index].needs_notification()) interrupt.signal_used(index);
  }
}

void Device::read_fields(std::span<const std::byte> fields, uint64_t offset, std::span<std::byte> to) {
  const auto present = fields.subspan(std::min<uint64_t>(offset, fields.size()));
  const size_t count = std::min(present.size(), to.size());
  std::ranges::copy(present.first(count), to.begin());
  std::ranges::fill(to.subspan(count), std::byte{0});
}

}  // namespace lambdo::virtio
