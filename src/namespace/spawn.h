#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "namespace/sandbox.h"

namespace lambdo::namespaces {

/// The command line of bubblewrap for all sandboxes of one specification, which start in a network namespace
/// of their own already. The agent's socket is descriptor kAgentFd, the seccomp program kSeccompFd.
class BwrapCommand {
 public:
  static constexpr int kAgentFd = 3;
  static constexpr int kSeccompFd = 4;

  /// `image` is the path that ImageMounts gave.
  BwrapCommand(const std::string& bwrap_path, const std::string& image, const SandboxSpec& spec);

  [[nodiscard]] const std::vector<std::string>& arguments() const { return arguments_; }
  /// For execve(2): ends with a null pointer, lives as long as this object.
  [[nodiscard]] char* const* argv() const { return pointers_.data(); }
  BwrapCommand(BwrapCommand&&) = default;
  BwrapCommand& operator=(BwrapCommand&&) = default;

 private:
  std::vector<std::string> arguments_;
  std::vector<char*> pointers_;
};

/// What a new process does before it becomes bubblewrap. The descriptors are above kSeccompFd and stay the
/// caller's.
struct SpawnPlan {
  char* const* argv = nullptr;
  int null_fd = -1;
  int output_fd = -1;
  int agent_fd = -1;
  int seccomp_fd = -1;
  int network_fd = -1;  ///< the network namespace that it lives in
  std::vector<Fd> cgroup_v1_files;
  Fd cgroup_v2_folder;
  bool change_ids = false;
  uid_t uid = 0;  ///< and gid
};

/// Memory that new processes run on until they execute bubblewrap.
class SpawnStack {
 public:
  SpawnStack();
  [[nodiscard]] void* top() const;

 private:
  struct alignas(16) Block {
    char bytes[64 << 10];
  };
  std::unique_ptr<Block> block_;
};

/// Starts a process as planned. What fails in it is written to output_fd, and it exits with status 127.
Result<pid_t> spawn(const SpawnPlan& plan, const SpawnStack& stack);

}  // namespace lambdo::namespaces
