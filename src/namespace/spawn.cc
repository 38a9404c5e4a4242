#include "namespace/spawn.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace lambdo::namespaces {

BwrapCommand::BwrapCommand(const std::string& bwrap_path, const std::string& image, const SandboxSpec& spec) {
  const std::string disk_bytes = std::to_string(spec.disk_mb << 20);
  // The image's tree is read-only, and its /dev has devices, so it is bound with them: see ImageMounts.
  arguments_ = {bwrap_path,
                "--unshare-user",
                "--unshare-pid",
                "--unshare-ipc",
                "--unshare-uts",
                "--unshare-cgroup-try",
                "--disable-userns",
                "--uid",
                std::to_string(spec.uid),
                "--gid",
                std::to_string(spec.gid),
                "--hostname",
                "lambdo",
                "--die-with-parent",
                "--new-session",
                "--as-pid-1",
                "--cap-drop",
                "ALL",
                "--dev-bind",
                image,
                "/",
                "--proc",
                "/proc",
                "--size",
                disk_bytes,
                "--tmpfs",
                "/tmp",
                "--size",
                disk_bytes,
                "--tmpfs",
                "/workspace",
                "--size",
                disk_bytes,
                "--tmpfs",
                "/dev/shm",
                "--chdir",
                "/workspace",
                "--seccomp",
                std::to_string(kSeccompFd),
                "--clearenv"};
  for (const auto& [key, value] : spec.environment) {
    arguments_.insert(arguments_.end(), {"--setenv", key, value});
  }
  arguments_.insert(arguments_.end(), {"--", "/.lambdo/agent", "--fd", std::to_string(kAgentFd)});
  for (std::string& argument : arguments_) pointers_.push_back(argument.data());
  pointers_.push_back(nullptr);
}

SpawnStack::SpawnStack() : block_(std::make_unique<Block>()) {}

void* SpawnStack::top() const {
  return block_->bytes + sizeof block_->bytes;
}

namespace {

struct ChildArguments {
  const SpawnPlan* plan;
  pid_t parent;
};

/// In the new process: says which step failed, on the descriptor that its output goes to.
[[noreturn]] void give_up(int output_fd, const char* step) {
  const int error = errno;
  const char* const parts[] = {"sandbox process: ", step, ": ", ::strerrordesc_np(error)};
  for (const char* part : parts) static_cast<void>(::write(output_fd, part, ::strlen(part)));
  ::_exit(127);
}

/// Runs in the new process, on the launcher's memory: only system calls, nothing that allocates or locks. The
/// ids go through the bare system calls, because libc's would also look after the threads it knows of.
int child_main(void* opaque) {
  const auto& [plan, parent] = *static_cast<const ChildArguments*>(opaque);
  const auto require = [output_fd = plan->output_fd](long result, const char* step) {
    if (result < 0) give_up(output_fd, step);
  };
  for (const Fd& file : plan->cgroup_v1_files) require(::write(file.get(), "0", 1), "join cgroup");

  // The machine's out-of-memory killer takes a sandbox before the server.
  const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score >= 0) {
    static_cast<void>(::write(score, "500", 3));
    ::close(score);
  }
  ::setsid();
  // While we still may: it is not the sandbox's to rule over.
  require(::setns(plan->network_fd, CLONE_NEWNET), "enter network namespace");
  if (plan->change_ids) {
    require(::syscall(SYS_setgroups, 0, nullptr), "setgroups");
    require(::syscall(SYS_setresgid, plan->uid, plan->uid, plan->uid), "setresgid");
    require(::syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid), "setresuid");
  }
  require(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
  // After the ids: changing them clears it.
  require(::prctl(PR_SET_PDEATHSIG, SIGKILL), "PR_SET_PDEATHSIG");
  if (::getppid() != parent) ::_exit(127);
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  const rlimit files{.rlim_cur = 1024, .rlim_max = 16384};
  ::setrlimit(RLIMIT_NOFILE, &files);

  // The launcher keeps 0 to 4 taken, so none of the sources is overwritten. The rest is close-on-exec.
  const int sources[] = {plan->null_fd, plan->null_fd, plan->output_fd, plan->agent_fd, plan->seccomp_fd};
  for (int target = 0; target < 5; ++target) require(::dup2(sources[target], target), "dup2");
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  char* const environment[] = {nullptr};
  ::execve(plan->argv[0], plan->argv, environment);
  give_up(plan->output_fd, "execute bubblewrap");
}

}  // namespace

#if __has_feature(thread_sanitizer)
// Its interceptor of clone cannot follow a child on the parent's memory.
constexpr int kSharing = 0;
#else
constexpr int kSharing = CLONE_VM | CLONE_VFORK;
#endif

Result<pid_t> spawn(const SpawnPlan& plan, const SpawnStack& stack) {
  ChildArguments arguments{.plan = &plan, .parent = ::getpid()};
  if (!plan.cgroup_v2_folder.valid()) {
    const pid_t pid = ::clone(child_main, stack.top(), kSharing | SIGCHLD, &arguments);
    if (pid < 0) return fail_errno("clone");
    return pid;
  }
  // Born into its group: joining later takes a lock over all forks of the machine. Without CLONE_VM, because
  // libc has no clone3 that changes stacks; the launcher is small to copy.
  struct clone_args clone_arguments{};
  clone_arguments.flags = CLONE_INTO_CGROUP;
  clone_arguments.exit_signal = SIGCHLD;
  clone_arguments.cgroup = static_cast<uint64_t>(plan.cgroup_v2_folder.get());
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &clone_arguments, sizeof clone_arguments));
  if (pid < 0) return fail_errno("clone3 into cgroup");
  if (pid == 0) ::_exit(child_main(&arguments));
  return pid;
}

}  // namespace lambdo::namespaces
