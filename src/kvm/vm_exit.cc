#include "kvm/vm_exit.h"

namespace lambdo::kvm {

std::string_view vm_end_name(VmEnd end) {
  switch (end) {
    case VmEnd::power_off:
      return "power_off";
    case VmEnd::reset:
      return "reset";
    case VmEnd::triple_fault:
      return "triple_fault";
    case VmEnd::halted:
      return "halted";
    case VmEnd::failed:
      return "failed";
    case VmEnd::killed:
      return "killed";
  }
  return "unknown";
}

}  // namespace lambdo::kvm
