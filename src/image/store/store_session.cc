#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "image/stopped.h"
#include "image/store/store.h"

/// The temporary folder that each open store has, and what is left of those whose owners were killed.
namespace lambdo::image {

namespace {

constexpr int kLockLimitMs = 10'000;

/// Holds whatever is at `path`, so that nobody else takes it for a leftover; nullopt where its owner lives or
/// somebody else removes it. What is no folder is nobody's: an Fd that holds nothing.
Result<std::optional<Fd>> hold_leftover(const std::string& path) {
  auto fd = sys::open(path, O_RDONLY | O_NOFOLLOW | O_DIRECTORY);
  if (!fd) {
    const int error = fd.error().os_errno;
    if (error == ENOTDIR || error == ELOOP) return Fd();
    if (error == ENOENT) return std::nullopt;
    return std::unexpected(std::move(fd).error());
  }
  if (TRY(try_lock_at(path, fd->get(), FileLock::Kind::exclusive)) != Lock::held) return std::nullopt;
  return *std::move(fd);
}

}  // namespace

/// The lock around it is needed because a new folder is not locked yet for a moment.
Result<> Store::open_session() {
  const FileLock opening = TRY(FileLock::lock(folder_ + "/opening", FileLock::Kind::exclusive, kLockLimitMs));
  const std::string session = folder_ + "/tmp/" + unique_name();
  TRY(sys::mkdir(session, S_IRWXU));
  session_ = session;
  session_lock_ = TRY(sys::open(session_, O_RDONLY | O_DIRECTORY));
  if (!TRY(sys::try_flock(session_lock_.get(), LOCK_EX))) {
    return fail(Code::internal, session_ + " is locked");
  }
  return {};
}

Store::~Store() {
  if (session_.empty() || leaves_session_) return;
  auto removed = remove_tree(session_);
  if (!removed) log::warning("Temporary files stay", {{"error", removed.error().message}});
}

void Store::remove_leftovers(const std::atomic<bool>* stop) {
  const std::string tmp = folder_ + "/tmp";
  const auto names = sys::list_directory(tmp);
  if (!names) return log::warning("Leftovers cannot be looked for", {{"error", names.error().message}});
  for (const std::string& name : *names) {
    if (is_stopped(stop)) return;
    const std::string path = tmp + "/" + name;
    const auto removed = remove_leftover(path, stop);
    if (removed || removed.error().code == Code::cancelled) continue;
    log::warning("What a process left that was killed cannot be removed; remove it by hand",
                 {{"path", path}, {"error", removed.error().message}});
  }
  if (!is_stopped(stop)) remove_unused_locks();
}

Result<> Store::remove_leftover(const std::string& path, const std::atomic<bool>* stop) {
  std::optional<Fd> held;
  {
    const FileLock opening =
        TRY(FileLock::lock(folder_ + "/opening", FileLock::Kind::exclusive, kLockLimitMs, stop));
    held = TRY(hold_leftover(path));
  }
  if (!held) return {};
  return remove_tree(path, stop);
}

/// Locks' files of the dead. Whoever comes for one at this moment sees it held, and tries again.
void Store::remove_unused_locks() {
  const std::string locks = folder_ + "/locks";
  const auto names = sys::list_directory(locks);
  if (!names) return log::warning("Locks cannot be looked for", {{"error", names.error().message}});
  for (const std::string& name : *names) {
    auto lock = FileLock::try_lock(locks + "/" + name, FileLock::Kind::exclusive);
    if (lock && *lock) (*lock)->remove_on_release();
    if (!lock) log::warning("A lock cannot be looked at", {{"error", lock.error().message}});
  }
}

}  // namespace lambdo::image
