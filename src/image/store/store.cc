#include "image/store/store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/syscalls.h"
#include "image/stopped.h"

namespace lambdo::image {

namespace {

constexpr std::string_view kVersion = "lambdo image store 1\n";
constexpr int kLockLimitMs = 10'000;
constexpr std::array kSubfolders = {"blobs",     "blobs/sha256", "names", "rootfs",
                                    "initramfs", "damaged",      "locks", "tmp"};

Result<> make_folder(const std::string& path) {
  auto made = sys::mkdir(path, S_IRWXU);
  if (!made && made.error().os_errno != EEXIST) return made;
  return {};
}

/// Set-uid programs of unpacked images must not be within others' reach, nor may others plant anything.
Result<> check_owner(const std::string& folder) {
  const Fd fd = TRY(sys::open(folder, O_RDONLY | O_DIRECTORY));
  const struct stat status = TRY(sys::fstat(fd.get()));
  if (status.st_uid != ::geteuid()) {
    return fail(Code::permission_denied, folder + " belongs to user " + std::to_string(status.st_uid) +
                                             ", not to " + std::to_string(::geteuid()));
  }
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return fail(Code::permission_denied, folder + " is open to others: chmod 700 it, or choose another one");
  }
  return {};
}

bool is_plain(std::string_view text, size_t max_length) {
  const auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
  };
  return !text.empty() && text.size() <= max_length && std::ranges::all_of(text, plain);
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const std::string& folder) {
  if (!folder.starts_with('/')) {
    return fail(Code::invalid_argument, "the image store's folder must be absolute: " + folder);
  }
  TRY(sys::mkdirs(folder, S_IRWXU));
  TRY(check_owner(folder));
  std::unique_ptr<Store> store(new Store(folder));
  for (const char* subfolder : kSubfolders) TRY(make_folder(folder + "/" + subfolder));
  TRY(store->open_session());
  TRY(store->check_version());
  return store;
}

Result<> Store::check_version() {
  const std::string path = folder_ + "/" + std::string(kVersionFile);
  auto version = sys::read_file(path, 4096);
  if (version && *version == kVersion) return {};
  if (version && !version->empty()) {
    return fail(Code::unavailable, folder_ + " was made by another version of lambdo: choose another folder");
  }
  return write_small_file(path, kVersion);
}

std::string Store::blob_path(const Digest& digest) const {
  return folder_ + "/blobs/sha256/" + digest.hex();
}

std::string Store::temporary_path() {
  return session_ + "/" + std::to_string(next_temporary_++);
}

Result<FileLock> Store::shared_lock() {
  return FileLock::lock(folder_ + "/lock", FileLock::Kind::shared, kLockLimitMs);
}

bool Store::has_blob(const Descriptor& blob) const {
  const auto status = sys::lstat(blob_path(blob.digest));
  return status && *status && S_ISREG((*status)->st_mode) &&
         static_cast<uint64_t>((*status)->st_size) == blob.size_bytes;
}

Result<BlobWriter> Store::new_blob(BlobWriter::Check check) {
  return BlobWriter(*this, TRY(TemporaryFile::create(temporary_path())), check);
}

Result<> Store::put_blob(std::string_view content, const Digest& digest) {
  const Descriptor blob{.media_type = {}, .digest = digest, .size_bytes = content.size(), .platform = {}};
  auto writer = TRY(new_blob(BlobWriter::Check::here));
  TRY(writer.write(std::as_bytes(std::span(content))));
  return writer.commit(blob);
}

Result<> Store::move_into_blobs(TemporaryFile& file, const Digest& digest) {
  const FileLock lock = TRY(shared_lock());
  TRY(sys::rename(file.path(), blob_path(digest)));
  file.forget();
  return sys::sync_folder(folder_ + "/blobs/sha256");
}

Result<Fd> Store::open_blob(const Descriptor& blob) {
  // O_NONBLOCK: a FIFO would be waited for.
  Fd fd = TRY(sys::open(blob_path(blob.digest), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  const struct stat status = TRY(sys::fstat(fd.get()));
  if (!S_ISREG(status.st_mode)) return damaged(blob.digest, fd.get(), "is no file");
  if (static_cast<uint64_t>(status.st_size) != blob.size_bytes) {
    return damaged(
        blob.digest, fd.get(),
        "has " + std::to_string(status.st_size) + " bytes, not " + std::to_string(blob.size_bytes));
  }
  return fd;
}

Result<std::string> Store::read_blob(const Digest& digest, size_t max_bytes) {
  Fd fd = TRY(sys::open(blob_path(digest), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  const struct stat status = TRY(sys::fstat(fd.get()));
  if (!S_ISREG(status.st_mode)) return damaged(digest, fd.get(), "is no file");
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size > max_bytes) {
    return fail(Code::image_too_large, digest.text() + " has " + std::to_string(size) + " bytes; at most " +
                                           std::to_string(max_bytes) + " are read");
  }
  // One byte more, so that the last read finds the end.
  std::string content(size + 1, '\0');
  BlobReader reader(*this, std::move(fd),
                    {.media_type = {}, .digest = digest, .size_bytes = size, .platform = {}});
  size_t filled = 0;
  for (;;) {
    const size_t count = TRY(reader.read(std::as_writable_bytes(std::span(content)).subspan(filled)));
    if (count == 0) break;
    filled += count;
  }
  content.resize(filled);
  return content;
}

Result<> Store::verify_blob(const Descriptor& blob, const std::atomic<bool>* stop) {
  BlobReader reader(*this, TRY(open_blob(blob)), blob);
  std::vector<std::byte> buffer(256 << 10);
  while (TRY(reader.read(buffer)) > 0) {
    if (is_stopped(stop)) return fail(Code::cancelled, "stopped");
  }
  return {};
}

std::unexpected<Error> Store::damaged(const Digest& digest, int fd, const std::string& how) {
  std::string message = "the blob " + digest.text() + " in " + folder_ + " " + how;
  // Not waited for: `prune` itself may find it.
  const auto lock = FileLock::try_lock(folder_ + "/lock", FileLock::Kind::shared);
  // Where another process has put a new one into its place meanwhile, that one is left alone.
  if (lock && *lock && is_at(blob_path(digest), fd).value_or(false)) {
    const auto moved = sys::rename(blob_path(digest), folder_ + "/damaged/" + digest.hex());
    message += moved ? "; it was moved to damaged/ there, and is fetched again by the next pull"
                     : "; it could not be moved away: " + moved.error().message;
  }
  return fail(Code::store_invalid, std::move(message));
}

Result<std::optional<FileLock>> Store::try_lock(const std::string& what) {
  CHECK(is_plain(what, 160));
  auto lock = TRY(FileLock::try_lock(folder_ + "/locks/" + what, FileLock::Kind::exclusive));
  if (lock) lock->remove_on_release();
  return lock;
}

Result<Lease> Store::lease(const Digest& manifest) {
  const FileLock lock = TRY(shared_lock());
  Lease lease =
      TRY(FileLock::lock(folder_ + "/locks/image-" + manifest.hex(), FileLock::Kind::shared, kLockLimitMs));
  lease.remove_on_release();
  return lease;
}

Result<TemporaryFolder> Store::make_temporary_folder() {
  return TemporaryFolder::create(temporary_path());
}

Result<> Store::write_small_file(const std::string& path, std::string_view content) {
  auto file = TRY(TemporaryFile::create(temporary_path()));
  auto written = sys::write_all(file.fd(), content);
  if (!written) return std::unexpected(std::move(written).error().with_context(folder_));
  TRY(sys::fsync(file.fd(), file.path()));
  TRY(sys::rename(file.path(), path));
  file.forget();
  return sys::sync_folder(path.substr(0, path.rfind('/')));
}

}  // namespace lambdo::image
