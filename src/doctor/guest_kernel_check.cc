#include "doctor/guest_kernel_check.h"

#include "kvm/boot/kernel_image.h"
#include "kvm/boot/kernel_modules.h"

namespace lambdo::doctor {

static Finding warning(std::string finding, std::string remedy) {
  return {Grade::warning, "guest kernel", std::move(finding), std::move(remedy)};
}

static Finding examine(const config::Config& config) {
  const config::Config::Vmm& vmm = config.vmm;
  if (vmm.kernel.empty()) {
    return warning("vmm.kernel is not set",
                   "name a vmlinux or bzImage there; ./dev guest-kernel fetches the distribution's");
  }
  for (const engine::Language& language : config.languages) {
    if (!language.image.empty() || !language.initramfs.empty()) continue;
    return warning("language " + language.name + " has no image and no initramfs",
                   "name an image in languages[].image, or a newc cpio archive in languages[].initramfs");
  }
  const auto kernel = kvm::load_kernel(vmm.kernel);
  if (!kernel)
    return warning("vmm.kernel: " + kernel.error().message,
                   "name another vmlinux or bzImage, or run ./dev guest-kernel");
  const std::string found =
      "Linux " + (kernel->version().empty() ? std::string("of unknown version") : kernel->version());
  if (vmm.modules.empty())
    return {Grade::ok, "guest kernel", found + ", without modules: virtio must be built in", ""};
  const auto folder = kvm::ModulesFolder::open(vmm.modules);
  if (!folder) {
    return warning("vmm.modules: " + folder.error().message, "name the kernel's own lib/modules/VERSION");
  }
  const auto modules = folder->resolve(kvm::kGuestModules, kernel->version());
  if (!modules) {
    return warning("vmm.modules: " + modules.error().message, "name the kernel's own lib/modules/VERSION");
  }
  return {Grade::ok, "guest kernel", found + ", with " + std::to_string(modules->size()) + " modules", ""};
}

Finding guest_kernel_finding(const config::Config* config) {
  if (config != nullptr) return examine(*config);
  return warning("not looked at",
                 "microVMs need a kernel: lambdo doctor --config FILE checks the one in vmm.kernel");
}

}  // namespace lambdo::doctor
