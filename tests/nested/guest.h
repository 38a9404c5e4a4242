#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kvm/boot/boot_archive.h"
#include "kvm/boot/kernel_image.h"
#include "kvm/vm.h"

/// What the tests and benchmarks of the nested host boot: the distribution's kernel and boot_init.
namespace lambdo::kvm::guest {

/// Of an environment variable, or its default for a run in the project's folder.
std::string kernel_folder();
std::string build_folder();

std::vector<std::byte> read_bytes(const std::string& path);

/// vmlinux (the ELF file) or vmlinuz (the bzImage) of the kernel's folder; loaded once.
std::shared_ptr<const KernelImage> kernel(const std::string& name = "vmlinux");

/// An initrd whose init does what `words` say; with the modules that guests need where wanted.
std::shared_ptr<const BootArchive> initrd(const std::string& words, bool with_modules = false);

/// A VM of 256 MiB and one vCPU with them, and the default command line.
VmConfig config(const std::string& words, bool with_modules = false);

}  // namespace lambdo::kvm::guest
