#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/language.h"
#include "kvm/boot/boot_archive.h"
#include "kvm/boot/command_line.h"
#include "kvm/boot/kernel_image.h"
#include "kvm/boot/kernel_modules.h"

namespace lambdo::engine {

/// Ports of AF_VSOCK: where the host (CID 2) serves LambdoApiService, and where agents serve.
inline constexpr uint32_t kRegistrationPort = 50051;
inline constexpr uint32_t kAgentPort = 50051;

/// The files that every microVM is made of.
struct KvmFiles {
  std::string agent_path;
  std::string kernel_path;       ///< vmlinux or bzImage
  std::string modules_path;      ///< lib/modules/VERSION of a modular kernel; empty: all is built in
  std::string kernel_arguments;  ///< appended to the command line; may be empty
  bool networks = false;         ///< guests may have a network
};

/// What the microVMs of one language are started from.
struct KvmLanguage {
  std::shared_ptr<const kvm::BootArchive> archive;
  /// The same for guests with a network; null where there are none.
  std::shared_ptr<const kvm::BootArchive> networked_archive;
  bool has_own_init = false;  ///< as Language says
  uint64_t ram_bytes = 0;
  uint32_t vcpu_count = 1;
  uint64_t max_memory_mb = 0;  ///< the largest memory limit that a run in it can have
};

/// What goes into the archive of every language.
struct KvmSharedFiles {
  std::string agent;
  std::vector<kvm::KernelModule> modules;
  /// For guests with a network; nullopt where there are none.
  std::optional<std::vector<kvm::KernelModule>> network_modules;
};

/// Read once, shared by all guests.
struct KvmMaterial {
  std::shared_ptr<const kvm::KernelImage> kernel;
  std::string kernel_arguments;
  std::shared_ptr<const KvmSharedFiles> shared;
  /// By index: those that have an initramfs; those of an image come later, by load_kvm_language().
  std::map<size_t, KvmLanguage> languages;
  std::vector<std::string> warnings;  ///< what of the configuration has no effect, one sentence each
};

/// Reads and checks everything. Blocks for as long as the kernel takes to unpack, up to a second. Errors name
/// the configuration's key and what to do.
Result<KvmMaterial> load_kvm_material(const KvmFiles& files, const std::vector<Language>& languages);

/// Reads the initramfs of one language. Blocks. Errors name the key below the language.
Result<KvmLanguage> load_kvm_language(const KvmSharedFiles& shared, const Language& language);

/// What a guest whose image has its own init is told of its network, by the kernel's command line.
struct GuestNetwork {
  std::string address;  ///< "192.168.10.2/24"
  std::string gateway;  ///< may be empty
};

/// The kernel's command line in the guest with this token. invalid_argument where `arguments` are none, or
/// the network is.
Result<kvm::CommandLine> guest_command_line(const kvm::BootToken& token, const std::string& arguments,
                                            const std::optional<GuestNetwork>& network = {});

/// How much RAM a guest of `language` gets: what the configuration says, else enough for the kernel, the
/// image packed and unpacked, and the memory limit. `unpacked_bytes` is the image's size in the guest.
uint64_t guest_ram_bytes(const Language& language, uint64_t archive_bytes, uint64_t unpacked_bytes);

}  // namespace lambdo::engine
