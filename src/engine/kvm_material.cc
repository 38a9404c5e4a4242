#include "engine/kvm_material.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/mapping.h"
#include "base/syscalls.h"
#include "kvm/decompress.h"
#include "kvm/memory_layout.h"

namespace lambdo::engine {

namespace {

using kvm::kMiB;

constexpr size_t kMaxAgentBytes = 64 << 20;
// What the kernel, its page tables and the agent need beside images and programs. A kernel of a distribution
// takes about 80 MiB.
constexpr uint64_t kOwnBytes = 112 * kMiB;
// How much larger an image may be unpacked than packed, where only the packed one is known.
constexpr uint64_t kUnpackedRatio = 4;

/// A file's content that nobody can change or take away any more: guests share its pages.
struct SealedFile {
  Fd file;
  Mapping mapping;
};

/// An archive and the image that it refers to.
struct LanguageArchive {
  SealedFile image;
  kvm::BootArchive archive;
};

Result<SealedFile> seal_file(const std::string& path) {
  const Fd source = TRY(sys::open(path, O_RDONLY));
  struct stat status{};
  if (::fstat(source.get(), &status) < 0) return fail_errno("fstat " + path);
  if (!S_ISREG(status.st_mode)) return fail(Code::invalid_argument, path + ": is no file");
  if (status.st_size == 0) return fail(Code::invalid_argument, path + ": is empty");
  SealedFile sealed;
  sealed.file = TRY(sys::memfd("lambdo-image", MFD_ALLOW_SEALING));
  for (off_t left = status.st_size; left > 0;) {
    const ssize_t count = ::sendfile(sealed.file.get(), source.get(), nullptr, static_cast<size_t>(left));
    if (count < 0) return fail_errno("read " + path);
    if (count == 0) return fail(Code::io, path + ": became shorter while it was read");
    left -= count;
  }
  if (::fcntl(sealed.file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
    return fail_errno("seal the copy of " + path);
  sealed.mapping =
      TRY(Mapping::create(static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, sealed.file.get()));
  return sealed;
}

/// The agent's options, one a line (agent/options.h).
Result<std::string> agent_config(const Language& language) {
  std::string text;
  for (const auto& [name, value] : language.environment) {
    if (value.contains('\n')) {
      return fail(Code::invalid_argument, "environment." + name +
                                              ": has a line break, which the kvm engine " +
                                              "cannot pass on; set it in the step's command");
    }
    text += "--environment=" + name + "=" + value + "\n";
  }
  text += "--register-port=" + std::to_string(kRegistrationPort) + "\n";
  text += "--listen-port=" + std::to_string(kAgentPort) + "\n";
  text += "--disk-mb=" + std::to_string(language.limits.disk_mb) + "\n";
  return text;
}

struct SharedFiles {
  std::string agent;
  std::vector<kvm::KernelModule> modules;
};

Result<KvmLanguage> load_language(const SharedFiles& shared, const Language& language) {
  if (language.initramfs.empty()) {
    return fail(
        Code::invalid_argument,
        "initramfs is missing, which the kvm engine needs; name a newc cpio archive of the language's "
        "root file system");
  }
  auto image = seal_file(language.initramfs);
  if (!image) return std::unexpected(std::move(image).error().with_context("initramfs"));
  const std::span<const std::byte> bytes = image->mapping.bytes();
  const std::string config = TRY(agent_config(language));
  auto archive = kvm::BootArchive::create(
      {.agent = std::as_bytes(std::span(shared.agent)), .modules = shared.modules, .config = config}, bytes);
  if (!archive) {
    return std::unexpected(std::move(archive).error().with_context("initramfs: " + language.initramfs));
  }
  KvmLanguage result;
  const bool is_packed = kvm::detect_compression(bytes).has_value();
  const uint64_t unpacked_bytes = bytes.size() * (is_packed ? kUnpackedRatio : 1);
  result.ram_bytes = guest_ram_bytes(language, archive->size_bytes(), unpacked_bytes);
  result.vcpu_count = language.vcpus;
  if (result.ram_bytes < kvm::kMinRamBytes || result.ram_bytes > kvm::kMaxRamBytes) {
    return fail(Code::invalid_argument,
                "a guest would have " + kvm::in_mib(result.ram_bytes) +
                    " of memory; set vm.memory_mb to 64 to 16384, or use a smaller image or memory limit");
  }
  if (archive->size_bytes() + kOwnBytes > result.ram_bytes) {
    return fail(Code::invalid_argument, "initramfs: " + language.initramfs + " of " +
                                            kvm::in_mib(bytes.size()) +
                                            " does not fit into the guest's memory of " +
                                            kvm::in_mib(result.ram_bytes) + "; raise vm.memory_mb");
  }
  const uint64_t taken_bytes = std::min(result.ram_bytes - kMiB, kOwnBytes + unpacked_bytes);
  result.max_memory_mb = (result.ram_bytes - taken_bytes) / kMiB;
  auto kept = std::make_shared<LanguageArchive>(std::move(*image), std::move(*archive));
  const kvm::BootArchive* address = &kept->archive;
  result.archive = std::shared_ptr<const kvm::BootArchive>(std::move(kept), address);
  return result;
}

Result<std::vector<kvm::KernelModule>> load_modules(const KvmFiles& files, const kvm::KernelImage& kernel) {
  if (files.modules_path.empty()) return std::vector<kvm::KernelModule>();
  const auto folder = TRY(kvm::ModulesFolder::open(files.modules_path));
  return folder.resolve(kvm::kGuestModules, kernel.version());
}

}  // namespace

uint64_t guest_ram_bytes(const Language& language, uint64_t archive_bytes, uint64_t unpacked_bytes) {
  if (language.vm_memory_mb != 0) return language.vm_memory_mb * kMiB;
  const uint64_t unpacking = kOwnBytes + archive_bytes + unpacked_bytes;
  // The root file system is a tmpfs, which may take half of the memory.
  const uint64_t as_tmpfs = 2 * unpacked_bytes + kOwnBytes;
  const uint64_t running = kOwnBytes + unpacked_bytes + language.limits.memory_mb * kMiB;
  return (std::max({unpacking, as_tmpfs, running}) + kMiB - 1) / kMiB * kMiB;
}

Result<KvmMaterial> load_kvm_material(const KvmFiles& files, const std::vector<Language>& languages) {
  if (files.kernel_path.empty()) {
    return fail(Code::unavailable,
                "vmm.kernel is missing, which the kvm engine needs; name a vmlinux or bzImage");
  }
  KvmMaterial material;
  auto kernel = kvm::load_kernel(files.kernel_path);
  if (!kernel) return std::unexpected(std::move(kernel).error().with_context("vmm.kernel"));
  material.kernel = std::make_shared<const kvm::KernelImage>(*std::move(kernel));
  material.kernel_arguments = files.kernel_arguments;
  SharedFiles shared;
  auto modules = load_modules(files, *material.kernel);
  if (!modules) return std::unexpected(std::move(modules).error().with_context("vmm.modules"));
  shared.modules = *std::move(modules);
  shared.agent = TRY(sys::read_file(files.agent_path, kMaxAgentBytes));
  for (size_t i = 0; i < languages.size(); ++i) {
    auto loaded = load_language(shared, languages[i]);
    if (!loaded) {
      return std::unexpected(std::move(loaded).error().with_context("languages[" + std::to_string(i) + "] (" +
                                                                    languages[i].name + ")"));
    }
    material.languages.push_back(*std::move(loaded));
  }
  return material;
}

}  // namespace lambdo::engine
