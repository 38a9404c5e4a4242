#include "engine/kvm_material.h"

#include <algorithm>
#include <utility>

#include "base/syscalls.h"
#include "kvm/boot/decompress.h"
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

// Where the original's image tool puts it.
constexpr std::string_view kImageInit = "/init";

/// The archives and the image that they refer to. A copy of the file, because one that becomes shorter under
/// a mapping would take the server along.
struct LanguageArchives {
  std::string image;
  kvm::BootArchive plain;
  std::optional<kvm::BootArchive> networked;
};

/// The agent's options, one a line (agent/options.h).
Result<std::string> agent_config(const Language& language) {
  if (language.has_own_init) return "--hand-over=" + std::string(kImageInit) + "\n";
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
  text += "--user=" + std::to_string(language.user.uid) + ":" + std::to_string(language.user.gid) + "\n";
  return text;
}

Result<std::vector<kvm::KernelModule>> load_modules(const KvmFiles& files, const kvm::KernelImage& kernel,
                                                    std::span<const std::string_view> wanted) {
  if (files.modules_path.empty()) return std::vector<kvm::KernelModule>();
  const auto folder = TRY(kvm::ModulesFolder::open(files.modules_path));
  return folder.resolve(wanted, kernel.version());
}

Result<KvmSharedFiles> load_shared_files(const KvmFiles& files, const kvm::KernelImage& kernel) {
  KvmSharedFiles shared;
  std::vector<std::string_view> wanted(kvm::kGuestModules.begin(), kvm::kGuestModules.end());
  auto modules = load_modules(files, kernel, wanted);
  if (!modules) return std::unexpected(std::move(modules).error().with_context("vmm.modules"));
  shared.modules = *std::move(modules);
  if (files.networks) {
    wanted.push_back(kvm::kNetworkModule);
    auto with_network = load_modules(files, kernel, wanted);
    if (!with_network) return std::unexpected(std::move(with_network).error().with_context("vmm.modules"));
    shared.network_modules = *std::move(with_network);
  }
  auto agent = sys::read_file(files.agent_path, kMaxAgentBytes);
  if (!agent) return std::unexpected(std::move(agent).error().with_context("agent.path"));
  shared.agent = *std::move(agent);
  return shared;
}

/// Both kinds of archive of one image.
Result<> build_archives(const KvmSharedFiles& shared, const std::string& config, LanguageArchives& archives) {
  const auto image = std::as_bytes(std::span(archives.image));
  kvm::BootFiles files{
      .agent = std::as_bytes(std::span(shared.agent)), .modules = shared.modules, .config = config};
  archives.plain = TRY(kvm::BootArchive::create(files, image));
  if (!shared.network_modules) return {};
  files.modules = *shared.network_modules;
  archives.networked = TRY(kvm::BootArchive::create(files, image));
  return {};
}

}  // namespace

Result<KvmLanguage> load_kvm_language(const KvmSharedFiles& shared, const Language& language) {
  if (language.initramfs.empty()) {
    return fail(
        Code::invalid_argument,
        "initramfs is missing, which the kvm engine needs; name an image, or a newc cpio archive of the "
        "language's root file system");
  }
  auto image = sys::read_file(language.initramfs, kvm::kMaxRamBytes);
  if (!image) return std::unexpected(std::move(image).error().with_context("initramfs"));
  if (image->empty()) return fail(Code::invalid_argument, "initramfs: " + language.initramfs + ": is empty");
  // On the heap at once: a short text would move with its string.
  auto kept = std::make_shared<LanguageArchives>(*std::move(image));
  const auto bytes = std::as_bytes(std::span(kept->image));
  const std::string config = TRY(agent_config(language));
  if (const auto built = build_archives(shared, config, *kept); !built) {
    return std::unexpected(Error(built.error()).with_context("initramfs: " + language.initramfs));
  }
  const kvm::BootArchive& largest = kept->networked ? *kept->networked : kept->plain;
  KvmLanguage result;
  result.has_own_init = language.has_own_init;
  const bool is_packed = kvm::detect_compression(bytes).has_value();
  const uint64_t unpacked_bytes = bytes.size() * (is_packed ? kUnpackedRatio : 1);
  result.ram_bytes = guest_ram_bytes(language, largest.size_bytes(), unpacked_bytes);
  result.vcpu_count = language.vcpus;
  if (result.ram_bytes < kvm::kMinRamBytes || result.ram_bytes > kvm::kMaxRamBytes) {
    return fail(Code::invalid_argument,
                "a guest would have " + kvm::in_mib(result.ram_bytes) +
                    " of memory; set vm.memory_mb to 64 to 16384, or use a smaller image or memory limit");
  }
  if (largest.size_bytes() + kOwnBytes > result.ram_bytes) {
    return fail(Code::invalid_argument, "initramfs: " + language.initramfs + " of " +
                                            kvm::in_mib(bytes.size()) +
                                            " does not fit into the guest's memory of " +
                                            kvm::in_mib(result.ram_bytes) + "; raise vm.memory_mb");
  }
  const uint64_t taken_bytes = std::min(result.ram_bytes - kMiB, kOwnBytes + unpacked_bytes);
  result.max_memory_mb = (result.ram_bytes - taken_bytes) / kMiB;
  if (language.limits.memory_mb > result.max_memory_mb) {
    return fail(Code::invalid_argument,
                "vm.memory_mb: beside kernel and image, guests would have room for " +
                    std::to_string(result.max_memory_mb) + " MiB, and limits.memory_mb is " +
                    std::to_string(language.limits.memory_mb) + "; raise the one or lower the other");
  }
  result.archive = {kept, &kept->plain};
  if (kept->networked) result.networked_archive = {kept, &*kept->networked};
  return result;
}

uint64_t guest_ram_bytes(const Language& language, uint64_t archive_bytes, uint64_t unpacked_bytes) {
  if (language.vm_memory_mb != 0) return language.vm_memory_mb * kMiB;
  const uint64_t unpacking = kOwnBytes + archive_bytes + unpacked_bytes;
  // The root file system is a tmpfs, which may take half of the memory.
  const uint64_t as_tmpfs = 2 * unpacked_bytes + kOwnBytes;
  const uint64_t running = kOwnBytes + unpacked_bytes + language.limits.memory_mb * kMiB;
  return (std::max({unpacking, as_tmpfs, running}) + kMiB - 1) / kMiB * kMiB;
}

Result<kvm::CommandLine> guest_command_line(const kvm::BootToken& token, const std::string& arguments,
                                            const std::optional<GuestNetwork>& network) {
  kvm::CommandLine command_line = kvm::CommandLine::defaults();
  TRY(command_line.add("rdinit", token.init_path()));
  TRY(command_line.add(arguments));
  // The last one counts.
  if (network) TRY(command_line.add_network(network->address, network->gateway));
  return command_line;
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
  if (auto line = guest_command_line(TRY(kvm::BootToken::random()), files.kernel_arguments); !line)
    return std::unexpected(std::move(line).error().with_context("vmm.kernel_arguments"));
  material.shared = std::make_shared<const KvmSharedFiles>(TRY(load_shared_files(files, *material.kernel)));
  for (size_t i = 0; i < languages.size(); ++i) {
    if (languages[i].cpu_percent != 0) {
      material.warnings.push_back("languages[" + std::to_string(i) +
                                  "].cpu_percent has no effect with the kvm "
                                  "engine; vm.vcpus bounds what a guest can use");
    }
    if (!languages[i].image.empty()) continue;
    auto loaded = load_kvm_language(*material.shared, languages[i]);
    if (!loaded) {
      return std::unexpected(std::move(loaded).error().with_context("languages[" + std::to_string(i) + "] (" +
                                                                    languages[i].name + ")"));
    }
    material.languages.emplace(i, *std::move(loaded));
  }
  return material;
}

}  // namespace lambdo::engine
