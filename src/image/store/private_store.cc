#include "image/store/private_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

#include "base/files.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "image/store/file_lock.h"

namespace lambdo::image {

namespace {

using Kind = FileLock::Kind;

constexpr std::string_view kPrefix = "lambdo-initramfs-";

std::string temporary_folder() {
  const char* folder = std::getenv("TMPDIR");
  return folder != nullptr && *folder != '\0' ? folder : "/tmp";
}

/// The file in each folder that says that we made it.
std::string marker_of(const std::string& folder) {
  return folder + "/.lambdo-temporary";
}

/// Whether the folder is one that create() made, by all that can be seen of it: a name and a prefix are soon
/// somebody else's, too.
Result<bool> is_ours(const std::string& path, int fd) {
  const struct stat status = TRY(sys::fstat(fd));
  if (status.st_uid != ::geteuid() || (status.st_mode & ~S_IFMT) != S_IRWXU) return false;
  const auto marker = TRY(sys::lstat(marker_of(path)));
  return marker && S_ISREG(marker->st_mode) && marker->st_uid == ::geteuid();
}

/// Locks the folder; nullopt where it is not one of ours, its owner lives, or it is gone by now.
Result<std::optional<Fd>> hold_leftover(const std::string& path) {
  auto fd = sys::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!fd && fd.error().code == Code::resource_exhausted) return std::unexpected(std::move(fd).error());
  if (!fd || !TRY(is_ours(path, fd->get()))) return std::nullopt;
  if (TRY(try_lock_at(path, fd->get(), Kind::exclusive)) != Lock::held) return std::nullopt;
  return *std::move(fd);
}

/// The marker goes last: what is killed meanwhile leaves something that is still known to be ours. And only
/// what we put there goes.
Result<> remove_leftover(const std::string& path) {
  if (!TRY(hold_leftover(path))) return {};
  TRY(remove_tree(path + "/store"));
  TRY(sys::unlink(marker_of(path)));
  if (::rmdir(path.c_str()) < 0) return fail_errno("rmdir " + path);
  return {};
}

Result<> remove_leftovers(const std::string& around) {
  for (const std::string& name : TRY(sys::list_directory(around))) {
    if (!name.starts_with(kPrefix) || !is_unique_name(name.substr(kPrefix.size()))) continue;
    const std::string path = around + "/" + name;
    const auto removed = remove_leftover(path);
    if (removed) continue;
    log::warning("What a command left that was killed cannot be removed; remove it by hand",
                 {{"path", path}, {"error", removed.error().message}});
  }
  return {};
}

}  // namespace

Result<PrivateStore> PrivateStore::create() {
  const std::string around = temporary_folder();
  struct stat status{};
  if (::stat(around.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    return fail(Code::invalid_argument,
                "TMPDIR is no folder: " + around + "; set it to one, or name a store with --store");
  }
  if (const auto removed = remove_leftovers(around); !removed) {
    log::warning("What killed commands left cannot be looked for", {{"error", removed.error().message}});
  }
  const std::string path = around + "/" + std::string(kPrefix) + unique_name();
  auto folder = TemporaryFolder::create(path);
  if (!folder) return std::unexpected(std::move(folder).error().with_context("a folder in TMPDIR"));
  // Locked before it has a marker: until then others leave it alone.
  Fd lock = TRY(sys::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (TRY(try_lock_at(path, lock.get(), Kind::exclusive)) != Lock::held) {
    return fail(Code::store_busy, "another process holds " + path);
  }
  const Fd marker =
      TRY(sys::open(marker_of(path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  auto store = TRY(TemporaryFolder::create(path + "/store"));
  return PrivateStore(std::move(lock), *std::move(folder), std::move(store));
}

}  // namespace lambdo::image
