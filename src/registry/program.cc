#include "registry/program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/fd.h"
#include "base/syscalls.h"

namespace lambdo::registry {

namespace {

/// A child with its process group. Killed and reaped at the latest when this dies.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ > 0) static_cast<void>(end());
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Ends what is left of the group; gives how the program itself ended.
  int end() {
    // Before it is reaped, so that the id cannot be another's.
    ::kill(-pid_, SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_;
};

class SpawnActions {
 public:
  SpawnActions() {
    CHECK(::posix_spawn_file_actions_init(&files_) == 0);
    CHECK(::posix_spawnattr_init(&attributes_) == 0);
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    constexpr short kFlags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP;
    ::posix_spawnattr_setflags(&attributes_, kFlags);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  ~SpawnActions() {
    ::posix_spawn_file_actions_destroy(&files_);
    ::posix_spawnattr_destroy(&attributes_);
  }

  void connect(int source, int target) {
    CHECK(::posix_spawn_file_actions_adddup2(&files_, source, target) == 0);
  }
  /// Whatever a library left open for programs: a helper gets nothing of ours beside the three.
  void close_others() { CHECK(::posix_spawn_file_actions_addclosefrom_np(&files_, STDERR_FILENO + 1) == 0); }
  [[nodiscard]] const posix_spawn_file_actions_t* files() const { return &files_; }
  [[nodiscard]] const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t files_{};
  posix_spawnattr_t attributes_{};
};

Result<Child> spawn(const std::vector<std::string>& arguments, int input, int output) {
  const Fd null = TRY(sys::open("/dev/null", O_WRONLY));
  SpawnActions actions;
  actions.connect(input, STDIN_FILENO);
  actions.connect(output, STDOUT_FILENO);
  actions.connect(null.get(), STDERR_FILENO);
  actions.close_others();
  std::vector<char*> pointers;
  // execve(2) does not change them; its declaration is older than const.
  for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  pid_t pid = -1;
  const int error =
      ::posix_spawnp(&pid, pointers[0], actions.files(), actions.attributes(), pointers.data(), environ);
  if (error == ENOENT) return fail(Code::unavailable, arguments[0] + " is not installed (not in PATH)");
  if (error != 0) {
    return fail(Code::unavailable, arguments[0] + " cannot be started: " + ::strerrordesc_np(error));
  }
  return Child(pid);
}

/// All that can be read now. False at the end of the output.
Result<bool> drain(int pipe, std::string& output, size_t max_bytes) {
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t count = ::read(pipe, buffer.data(), buffer.size());
    if (count == 0) return false;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return true;
    if (count < 0) return fail_errno("read from a program");
    output.append(buffer.data(), static_cast<size_t>(count));
    if (output.size() > max_bytes) {
      return fail(Code::payload_too_large, "wrote more than " + std::to_string(max_bytes) + " bytes");
    }
  }
}

/// Until the program has ended; what holds its output open beyond that is not waited for.
Result<std::string> read_until_end(const Child& child, int pipe, ProgramLimits limits) {
  const Fd ended = TRY(sys::pidfd_open(child.pid()));
  const long long deadline_ns = sys::monotonic_ns() + limits.timeout_ms * 1'000'000;
  std::string output;
  bool open = true;
  for (;;) {
    const long long left_ms = (deadline_ns - sys::monotonic_ns()) / 1'000'000;
    if (left_ms <= 0) {
      return fail(Code::timeout, "took longer than " + std::to_string(limits.timeout_ms) + " ms");
    }
    std::array<pollfd, 3> waits = {{{.fd = ended.get(), .events = POLLIN},
                                    {.fd = open ? pipe : -1, .events = POLLIN},
                                    {.fd = limits.interrupt_fd, .events = POLLIN}}};
    if (::poll(waits.data(), waits.size(), static_cast<int>(left_ms)) < 0 && errno != EINTR) {
      return fail_errno("poll");
    }
    if (waits[2].revents != 0) return fail(Code::cancelled, "interrupted");
    if (open) open = TRY(drain(pipe, output, limits.max_output_bytes));
    if (waits[0].revents != 0) return output;
  }
}

}  // namespace

Result<ProgramResult> run_program(const std::vector<std::string>& arguments, std::string_view input,
                                  ProgramLimits limits) {
  CHECK(!arguments.empty());
  // A file and not a pipe: a program that never reads costs neither a wait nor a SIGPIPE.
  const Fd input_file = TRY(sys::memfd("program-input"));
  TRY(sys::write_all(input_file.get(), input));
  if (::lseek(input_file.get(), 0, SEEK_SET) < 0) return fail_errno("lseek");
  auto [reading, writing] = TRY(sys::pipe());
  if (::fcntl(reading.get(), F_SETFL, O_NONBLOCK) < 0) return fail_errno("fcntl");
  Child child = TRY(spawn(arguments, input_file.get(), writing.get()));
  writing.reset();
  auto output = read_until_end(child, reading.get(), limits);
  const int exit_code = child.end();
  if (!output) return std::unexpected(std::move(output).error().with_context(arguments[0]));
  return ProgramResult{.exit_code = exit_code, .output = std::move(*output)};
}

}  // namespace lambdo::registry
