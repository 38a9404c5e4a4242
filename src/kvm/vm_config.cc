#include "kvm/vm_config.h"

#include <string>

namespace lambdo::kvm {

Result<> check(const VmConfig& config) {
  const auto bad = [](std::string text) { return fail(Code::invalid_argument, std::move(text)); };
  if (config.vcpu_count == 0 || config.vcpu_count > kMaxVcpus) {
    return bad(std::to_string(config.vcpu_count) + " vCPUs: must be 1 to " + std::to_string(kMaxVcpus));
  }
  if (config.source.kernel == nullptr) return bad("a VM without a kernel");
  if (config.source.initrd != nullptr && !config.source.token) return bad("an initramfs without its token");
  if (config.devices.size() > kMaxVirtioDevices) {
    return bad(std::to_string(config.devices.size()) + " virtio devices: there is room for " +
               std::to_string(kMaxVirtioDevices));
  }
  TRY(RamLayout::create(config.ram_bytes));
  return {};
}

}  // namespace lambdo::kvm
