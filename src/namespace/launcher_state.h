#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "namespace/cgroup.h"
#include "namespace/image_mounts.h"
#include "namespace/launcher_main.h"
#include "namespace/launcher_protocol.h"
#include "namespace/network_namespaces.h"
#include "namespace/spawn.h"

namespace lambdo::namespaces {

/// What the launcher has made and how it is unmade. Single-threaded, blocking for microseconds; answers and
/// news are collected for the loop to send.
class LauncherState {
 public:
  /// Enters the mount namespace of the images, cleans up after an earlier instance. To be called once per
  /// process.
  static Result<LauncherState> create(const LauncherOptions& options, const std::string& state_name);

  /// What this machine cannot give sandboxes.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }

  Result<uint64_t> define(const SandboxSpec& spec);
  /// `network` is there where the specification says so.
  Result<> launch(uint64_t spec_index, SandboxId id, Fd agent_socket, Fd network);
  Result<> set_limits(SandboxId id, uint64_t memory_mb, uint64_t processes);
  Result<Usage> usage(SandboxId id);
  /// Kills all in it; `finish_destroyed` tells when it is gone. `request` is answered then.
  Result<> begin_destroy(SandboxId id, uint32_t request);
  void begin_destroy_all();

  /// Reaps children that ended; gives the sandboxes that ended without being destroyed.
  std::vector<SandboxExit> reap();
  struct Destroyed {
    uint32_t request;  ///< 0 where nobody asked
    Usage usage;
  };
  /// Removes the sandboxes being destroyed of which nothing runs any more. With `kill_again` the others get
  /// another SIGKILL, for what was forked while the first came.
  std::vector<Destroyed> finish_destroyed(bool kill_again);
  /// Whether finish_destroyed should be called again soon.
  [[nodiscard]] bool destroying() const;
  [[nodiscard]] bool empty() const { return sandboxes_.empty(); }
  /// Removes what `create` made; there must be no sandbox.
  void remove_cgroups() { cgroups_.remove(); }

 private:
  struct Spec {
    SandboxSpec values;
    BwrapCommand command;
  };
  struct Sandbox {
    SandboxId id = 0;
    uint32_t slot = 0;
    CgroupLimits limits;
    std::optional<Cgroup> cgroup;
    NetworkNamespace network;
    bool own_network = true;  ///< `network` is the launcher's, to be used again
    Fd output;                ///< reading end of what it writes to stderr
    pid_t pid = 0;
    bool reaped = false;
    std::vector<pid_t> inner;  ///< once killed: children of `pid`, that is, the agent
    bool destroying = false;
    uint32_t request = 0;
  };

  LauncherState() = default;
  Result<Sandbox*> find(SandboxId id);
  Result<> start(Sandbox& sandbox, const Spec& spec, const Fd& agent_socket);
  void kill_all(Sandbox& sandbox) const;
  [[nodiscard]] bool gone(const Sandbox& sandbox) const;

  std::vector<std::string> warnings_;
  bool own_uids_ = false;  ///< each sandbox runs under a uid of its own
  LauncherOptions options_;
  std::optional<ImageMounts> image_mounts_;
  CgroupTree cgroups_;
  std::optional<NetworkNamespaces> networks_;
  Fd null_;
  Fd seccomp_;
  SpawnStack stack_;
  std::vector<std::unique_ptr<Spec>> specs_;
  std::map<SandboxId, Sandbox> sandboxes_;
  std::deque<uint32_t> free_slots_;  ///< longest unused first
};

}  // namespace lambdo::namespaces
