#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace lambdo::kvm {

/// What a guest needs from a modular kernel: the transport, the agent's connection, and entropy.
inline constexpr std::array<std::string_view, 3> kGuestModules = {"virtio_mmio", "vmw_vsock_virtio_transport",
                                                                  "virtio_rng"};
/// And for a network device.
inline constexpr std::string_view kNetworkModule = "virtio_net";

struct KernelModule {
  std::string name;              ///< with '_' for '-'
  std::vector<std::byte> bytes;  ///< the uncompressed .ko, for init_module(2)
};

/// A modules folder (lib/modules/VERSION). Dependencies come from the modules themselves, so that the folder
/// of an unpacked package serves, where depmod never ran: modules.order or modules.dep, whichever is there,
/// only tells where a module is.
class ModulesFolder {
 public:
  /// not_found: no such folder; invalid_argument: it has neither modules.dep nor modules.order.
  static Result<ModulesFolder> open(const std::string& path);

  /// The wanted modules and what they depend on, in load order, without what is built in. With a
  /// `kernel_version`, every module must be for it. Blocks. Errors name folder and module.
  [[nodiscard]] Result<std::vector<KernelModule>> resolve(std::span<const std::string_view> wanted,
                                                          std::string_view kernel_version = {}) const;

  [[nodiscard]] bool has(std::string_view name) const;

 private:
  class Resolver;

  std::string path_;
  std::map<std::string, std::string, std::less<>> files_;  ///< from name to path below the folder
  std::set<std::string, std::less<>> builtin_;
};

}  // namespace lambdo::kvm
