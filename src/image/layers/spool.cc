#include "image/layers/spool.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/files.h"
#include "base/syscalls.h"

namespace lambdo::image {

namespace {

constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
constexpr int kNewFile = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
constexpr uint32_t kAllRead = S_IRUSR | S_IRGRP | S_IROTH;
constexpr uint32_t kOwnMode = S_IRUSR | S_IWUSR;
constexpr uint32_t kUnknownMode = ~0U;

/// Whether some may not read a file of this mode: it may then be this process, which has no capabilities to
/// do so all the same, where it is a server.
bool is_private(uint32_t mode) {
  return (mode & kAllRead) != kAllRead;
}

/// "3/1f": folders are few, and files in one are made by one thread.
std::string path_of(Content content) {
  char text[32];
  std::snprintf(text, sizeof text, "%x/%x", content.folder, content.number);
  return text;
}

}  // namespace

Spool::Spool(TemporaryFolder place, Fd folder, const Limits& limits)
    : place_(std::move(place)), folder_(std::move(folder)), limits_(limits) {}

Result<std::unique_ptr<Spool>> Spool::create(std::string path, const Limits& limits) {
  TemporaryFolder place = TRY(TemporaryFolder::create(std::move(path)));
  Fd folder = TRY(sys::open(place.path(), kFolder));
  return std::unique_ptr<Spool>(new Spool(std::move(place), std::move(folder), limits));
}

Result<> Spool::charge(std::atomic<uint64_t>& used, uint64_t amount, uint64_t limit, const char* what) {
  const uint64_t before = used.fetch_add(amount, std::memory_order_relaxed);
  if (amount <= limit && before <= limit - amount) return {};
  used.fetch_sub(amount, std::memory_order_relaxed);
  return fail(Code::image_too_large,
              "more than " + std::to_string(limit) + " " + what + " in the image's layers");
}

Result<Spool::Writer> Spool::writer() {
  const uint32_t number = next_folder_.fetch_add(1);
  char name[16];
  std::snprintf(name, sizeof name, "%x", number);
  if (::mkdirat(folder_.get(), name, 0700) != 0) return fail_errno("mkdir in the spool");
  return Writer(*this, TRY(sys::open_subfolder(folder_.get(), name)), number);
}

Result<Fd> Spool::open(Content content) const {
  Fd fd(::openat(folder_.get(), path_of(content).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("content in the spool");
  return fd;
}

Result<> Spool::move(Content content, int folder, const char* name, const FileMetadata& metadata,
                     std::span<const Xattr> xattrs) {
  if (is_private(metadata.mode)) {
    const Fd fd = TRY(open(content));
    TRY(metadata_.set(fd.get(), metadata, xattrs, kUnknownMode));
  }
  if (::renameat2(folder_.get(), path_of(content).c_str(), folder, name, RENAME_NOREPLACE) != 0) {
    return fail_errno("rename out of the spool");
  }
  return {};
}

Spool::Writer::Writer(Spool& spool, Fd folder, uint32_t number)
    : spool_(&spool), folder_(std::move(folder)), next_{.folder = number, .number = 1} {}

Result<Spool::File> Spool::Writer::begin(uint64_t size_bytes, uint32_t mode) {
  TRY(spool_->charge(spool_->files_, 1, spool_->limits_.files, "files"));
  TRY(spool_->charge(spool_->bytes_, size_bytes, spool_->limits_.bytes, "bytes of files"));
  char name[16];
  std::snprintf(name, sizeof name, "%x", next_.number);
  const uint32_t created_mode = is_private(mode) ? kOwnMode : MetadataSetter::creation_mode(mode);
  Fd fd(::openat(folder_.get(), name, kNewFile, created_mode));
  if (!fd.valid()) return fail_errno("new file in the spool");
  const Content content = next_;
  ++next_.number;
  return File(*spool_, std::move(fd), content, size_bytes, created_mode);
}

Spool::File::File(Spool& spool, Fd fd, Content content, uint64_t size_bytes, uint32_t created_mode)
    : spool_(&spool),
      fd_(std::move(fd)),
      content_(content),
      size_bytes_(size_bytes),
      created_mode_(created_mode) {}

Result<> Spool::File::write(uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t count = ::pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("write to the spool");
    offset += static_cast<uint64_t>(count);
    data = data.subspan(static_cast<size_t>(count));
  }
  end_ = offset;
  return {};
}

Result<Content> Spool::File::finish(const FileMetadata& metadata, std::span<const Xattr> xattrs) {
  if (end_ < size_bytes_ && ::ftruncate(fd_.get(), static_cast<off_t>(size_bytes_)) != 0) {
    return fail_errno("ftruncate in the spool");
  }
  if (!is_private(metadata.mode)) {
    TRY(spool_->metadata_.set(fd_.get(), metadata, xattrs, created_mode_));
  } else if (::fchmod(fd_.get(), kOwnMode) != 0) {  // the umask may have taken something
    return fail_errno("fchmod in the spool");
  }
  fd_.reset();
  return content_;
}

}  // namespace lambdo::image
