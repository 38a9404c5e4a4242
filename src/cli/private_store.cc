#include "cli/private_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "base/files.h"
#include "base/log.h"
#include "base/syscalls.h"

namespace lambdo::cli {

namespace {

constexpr std::string_view kPrefix = "lambdo-initramfs-";

std::string temporary_folder() {
  const char* folder = std::getenv("TMPDIR");
  return folder != nullptr && *folder != '\0' ? folder : "/tmp";
}

/// Locks the folder; nullopt where it is another one's, of another user, or gone by now.
Result<std::optional<Fd>> hold(const std::string& path) {
  auto fd = sys::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!fd && fd.error().code == Code::resource_exhausted) return std::unexpected(std::move(fd).error());
  if (!fd) return std::nullopt;
  const struct stat status = TRY(sys::fstat(fd->get()));
  if (status.st_uid != ::geteuid() || !TRY(sys::try_flock(fd->get(), LOCK_EX))) return std::nullopt;
  const auto there = TRY(sys::lstat(path));
  if (!there || there->st_ino != status.st_ino || there->st_dev != status.st_dev) return std::nullopt;
  return *std::move(fd);
}

Result<> remove_leftovers(const std::string& around) {
  for (const std::string& name : TRY(sys::list_directory(around))) {
    if (!name.starts_with(kPrefix)) continue;
    const std::string path = around + "/" + name;
    const auto held = TRY(hold(path));
    if (!held) continue;
    const auto removed = image::remove_tree(path);
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
  // Another command may take a new folder for a leftover before it is locked.
  constexpr int kTries = 10;
  for (int i = 0; i < kTries; ++i) {
    std::array<std::byte, sizeof(uint64_t)> bytes{};
    TRY(sys::random_bytes(bytes));
    uint64_t number = 0;
    for (const std::byte byte : bytes) number = number << 8 | std::to_integer<uint64_t>(byte);
    auto folder =
        image::TemporaryFolder::create(around + "/" + std::string(kPrefix) + std::to_string(number));
    if (!folder) return std::unexpected(std::move(folder).error().with_context("a folder in TMPDIR"));
    auto lock = TRY(hold(folder->path()));
    if (lock) return PrivateStore(*std::move(folder), *std::move(lock));
    folder->forget();
  }
  return fail(Code::store_busy, "no folder of our own can be made in " + around);
}

}  // namespace lambdo::cli
