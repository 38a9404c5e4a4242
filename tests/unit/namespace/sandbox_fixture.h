#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "namespace/launcher.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::namespaces {

/// Whether sandboxes can have limits and uids of their own here; says loudly that a test is skipped if not.
bool is_root(const char* test);

/// Not those of a server that may be running beside the tests.
constexpr uid_t kFirstUid = 230'000;

/// A folder of its own, removed with all in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A launcher with a reactor, a state directory, an empty image with the mount points, and the probe as
/// agent. Tests are coroutines given to `run`.
class Sandboxes : private LauncherObserver {
 public:
  Sandboxes();
  /// Stops the launcher where the test did not.
  ~Sandboxes() override;

  [[nodiscard]] Launcher& launcher() { return *launcher_; }
  [[nodiscard]] reactor::Reactor& reactor() { return *reactor_; }
  [[nodiscard]] const LauncherOptions& options() const { return options_; }
  [[nodiscard]] SandboxSpec spec() const;
  [[nodiscard]] pid_t launcher_pid() const { return launcher_pid_; }
  void run(reactor::Task<> test) { reactor_->run(std::move(test)); }
  void stop();

  std::vector<SandboxExit> exits;
  bool lost = false;

 private:
  void sandbox_exited(const SandboxExit& exit) override { exits.push_back(exit); }
  void launcher_lost(const Error& /*error*/) override { lost = true; }

  TemporaryFolder folder_;
  LauncherOptions options_;
  std::unique_ptr<reactor::Reactor> reactor_;
  std::unique_ptr<Launcher> launcher_;
  pid_t launcher_pid_ = -1;
};

/// A sandbox with the probe in it. Commands are those of probe.c.
struct Probe {
  SandboxId id = 0;
  Fd socket;

  /// The probe's answer; "" where the connection ended. Blocks the loop: the sandbox does not need it.
  [[nodiscard]] std::string ask(std::string_view command) const;
};
reactor::Task<Probe> start_probe(Sandboxes& sandboxes, SandboxSpec spec);

/// The probe binary and, made in `folder`, an image for it.
std::string probe_path();
void make_image(const std::string& folder);

/// Waits up to `timeout_ms` until the condition holds.
bool eventually(const std::function<bool()>& condition, int timeout_ms);
bool process_exists(pid_t pid);
/// Children of `parent` in any state, by /proc.
std::vector<pid_t> processes_with_parent(pid_t parent);
/// Those in any state, except zombies that init has adopted.
std::vector<pid_t> processes_with_uid(uid_t first, uid_t last);
/// Folders of the server with this state directory in all cgroup hierarchies. The directory must exist.
std::vector<std::string> cgroup_folders(const LauncherOptions& options);
/// Without the network namespaces that a launcher keeps for its next sandboxes.
size_t open_descriptors(pid_t pid);

}  // namespace lambdo::namespaces
