#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "namespace/launcher.h"
#include "reactor/event.h"
#include "reactor/reactor.h"

namespace lambdo::engine {

/// Guests in Linux namespaces, by bubblewrap: for machines whose KVM cannot run a stock kernel. The guest
/// shares the host's kernel, so the wall around it is as thin as that kernel's system call interface, and the
/// engine says so.
class NamespaceEngine final : public Engine, private namespaces::LauncherObserver {
 public:
  /// `launcher` outlives the engine; `agent_path` is the static agent binary on the host. `resolvers` are
  /// what guests with a network are told; nullopt where there are none of these.
  NamespaceEngine(reactor::Reactor& reactor, namespaces::Launcher& launcher, std::string agent_path,
                  std::optional<std::vector<IpAddress>> resolvers);
  ~NamespaceEngine() override;

  [[nodiscard]] std::string_view name() const override { return "namespace"; }
  [[nodiscard]] std::vector<std::string> warnings() const override;
  reactor::Task<Result<>> prepare(size_t index, const Language& language) override;
  reactor::Task<Result<std::unique_ptr<Guest>>> create_guest(size_t language,
                                                             std::optional<net::AttachedGuest> network,
                                                             reactor::CancelToken token) override;
  reactor::Task<Result<std::string>> failure(reactor::CancelToken token) override;
  reactor::Task<> stop() override;

 private:
  class NamespaceGuest;
  void sandbox_exited(const namespaces::SandboxExit& exit) override;
  void launcher_lost(const Error& error) override;

  reactor::Reactor& reactor_;
  namespaces::Launcher& launcher_;
  std::string agent_path_;
  /// The launcher's handles of one language.
  struct SpecIds {
    uint32_t plain = 0;
    uint32_t networked = 0;  ///< where there are such
  };
  std::optional<std::vector<IpAddress>> resolvers_;
  std::map<size_t, SpecIds> spec_ids_;
  std::map<namespaces::SandboxId, NamespaceGuest*> guests_;
  reactor::Event lost_;
  std::string failure_;
};

}  // namespace lambdo::engine
