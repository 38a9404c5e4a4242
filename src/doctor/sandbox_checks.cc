#include "doctor/sandbox_checks.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "base/fd.h"
#include "base/syscalls.h"
#include "base/text.h"
#include "doctor/machine_checks.h"

namespace lambdo::doctor {

static constexpr int kTimeoutMs = 5000;
static constexpr size_t kMaxOutputBytes = 4096;

static std::optional<uint64_t> read_setting(const std::string& path) {
  const std::string text = sys::read_file(path).value_or("");
  return parse_uint(std::string_view(text).substr(0, text.find('\n')));
}

UserNamespaceSettings read_user_namespace_settings() {
  return {.max_user_namespaces = read_setting("/proc/sys/user/max_user_namespaces"),
          .unprivileged_clone = read_setting("/proc/sys/kernel/unprivileged_userns_clone"),
          .apparmor_restrict = read_setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
          .is_root = ::geteuid() == 0};
}

Finding user_namespace_finding(const UserNamespaceSettings& settings) {
  static const std::string kName = "user namespaces";
  if (!settings.max_user_namespaces) {
    return {Grade::failure, kName, "this kernel has none", "use a kernel with CONFIG_USER_NS"};
  }
  if (*settings.max_user_namespaces == 0) {
    return {Grade::failure, kName, "switched off", "sysctl -w user.max_user_namespaces=10000"};
  }
  const std::string allowed = "up to " + std::to_string(*settings.max_user_namespaces);
  if (settings.is_root) return {Grade::ok, kName, allowed, ""};
  if (settings.unprivileged_clone == 0U) {
    return {Grade::failure, kName, "not for unprivileged users",
            "sysctl -w kernel.unprivileged_userns_clone=1"};
  }
  if (settings.apparmor_restrict == 1U) {
    return {
        Grade::warning, kName, allowed + ", restricted by AppArmor",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or a profile that allows bwrap userns"};
  }
  return {Grade::ok, kName, allowed + ", also for unprivileged users", ""};
}

std::string find_program(std::string_view name, std::string_view path) {
  for (const std::string_view folder : split_nonempty(path, ':')) {
    const std::string candidate = std::string(folder) + "/" + std::string(name);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

/// posix_spawn(3) with output and errors to `output_fd`.
static Result<pid_t> spawn(const std::vector<std::string>& arguments, int output_fd) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output_fd, STDERR_FILENO);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail_errno(error, "start " + arguments[0]);
  return pid;
}

/// Until the pipe's last writer is gone; false where that takes longer than `timeout_ms`.
static bool read_until_end(int fd, int timeout_ms, std::string& output) {
  const long long deadline_ns = sys::monotonic_ns() + timeout_ms * 1'000'000LL;
  while (true) {
    const long long left_ms = (deadline_ns - sys::monotonic_ns()) / 1'000'000;
    if (left_ms <= 0) return false;
    pollfd readable{fd, POLLIN, 0};
    if (::poll(&readable, 1, static_cast<int>(left_ms)) <= 0) continue;
    char buffer[1024];
    const ssize_t count = ::read(fd, buffer, sizeof buffer);
    if (count == 0) return true;
    if (count > 0)
      output.append(buffer, std::min(static_cast<size_t>(count), kMaxOutputBytes - output.size()));
  }
}

Result<ProgramResult> run_program(const std::vector<std::string>& arguments, int timeout_ms) {
  auto [read_end, write_end] = TRY(sys::pipe());
  const pid_t pid = TRY(spawn(arguments, write_end.get()));
  write_end.reset();
  ProgramResult result;
  const bool ended = read_until_end(read_end.get(), timeout_ms, result.output);
  if (!ended) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno("waitpid");
  }
  if (!ended)
    return fail(Code::timeout, arguments[0] + " took longer than " + std::to_string(timeout_ms) + " ms");
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

static std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

Finding bubblewrap_finding() {
  static const std::string kName = "bubblewrap";
  const char* path = std::getenv("PATH");
  const std::string program = find_program("bwrap", path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
  if (program.empty()) return {Grade::failure, kName, "bwrap is not on PATH", "apt-get install bubblewrap"};
  const auto version = run_program({program, "--version"}, kTimeoutMs);
  const std::string found = program + (version ? ", " + first_line(version->output) : "");
  const auto trial = run_program({program, "--unshare-all", "--ro-bind", "/", "/", "true"}, kTimeoutMs);
  if (trial && trial->exit_code == 0) return {Grade::ok, kName, found + ", starts a sandbox", ""};
  const std::string why = trial ? first_line(trial->output) : trial.error().message;
  return {Grade::failure, kName, found + ", cannot start a sandbox: " + why,
          "allow user namespaces (see there); in a container, start it with --privileged or a seccomp "
          "profile that "
          "allows unshare and mount"};
}

}  // namespace lambdo::doctor
