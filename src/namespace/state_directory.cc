#include "namespace/state_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string_view>
#include <utility>

#include "base/syscalls.h"
#include "base/text.h"

namespace lambdo::namespaces {

namespace {

// A launcher whose server was killed has to clean up before another may start.
constexpr int kPredecessorTimeoutMs = 5000;

Result<std::string> real_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), ::free);
  if (!resolved) return fail_errno("state directory " + path);
  return std::string(resolved.get());
}

/// The process that wrote its number into the lock file, 0 where it is no more.
pid_t living_owner(const std::string& path) {
  const Result<std::string> content = sys::read_file(path, 64);
  if (!content) return 0;
  const auto pid =
      static_cast<pid_t>(parse_uint(std::string_view(*content).substr(0, content->find('\n'))).value_or(0));
  return pid > 1 && (::kill(pid, 0) == 0 || errno == EPERM) ? pid : 0;
}

/// Held by the server and by its launcher: free only when both are gone.
Result<Fd> lock_state(const std::string& state_dir) {
  const std::string path = state_dir + "/lock";
  Fd lock = TRY(sys::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  const long long deadline_ns = sys::monotonic_ns() + kPredecessorTimeoutMs * 1'000'000LL;
  while (::flock(lock.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK) return fail_errno("lock " + path);
    const pid_t owner = living_owner(path);
    if (owner != 0 || sys::monotonic_ns() > deadline_ns) {
      return fail(Code::unavailable,
                  "another server" +
                      (owner != 0 ? " (process " + std::to_string(owner) + ")" : std::string()) +
                      " uses the state directory " + state_dir + ": end it, or choose another directory");
    }
    const timespec pause{.tv_nsec = 10'000'000};
    ::nanosleep(&pause, nullptr);
  }
  const std::string owner = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock.get(), 0) < 0) return fail_errno("truncate " + path);
  TRY(sys::write_all(lock.get(), owner));
  return lock;
}

}  // namespace

Result<StateDirectory> open_state_directory(const std::string& path) {
  TRY(sys::mkdirs(path, 0700));
  std::string resolved = TRY(real_path(path));
  Fd lock = TRY(lock_state(resolved));
  return StateDirectory{.path = std::move(resolved), .lock = std::move(lock)};
}

// FNV-1a: different state directories, different names.
std::string cgroup_folder_name(const std::string& state_dir) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : state_dir) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  char name[32];
  ::snprintf(name, sizeof name, "lambdo-%016llx", static_cast<unsigned long long>(hash));
  return name;
}

}  // namespace lambdo::namespaces
