#include "image/store/blob.h"

#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/syscalls.h"
#include "image/store/store.h"

namespace lambdo::image {

namespace {

/// Dirty pages are sent to the disk in steps of this while more comes, so that the sync at the end has little
/// left to wait for.
constexpr uint64_t kWritebackBytes = 8 << 20;

}  // namespace

BlobWriter::BlobWriter(Store& store, TemporaryFile file, Check check)
    : store_(&store), file_(std::move(file)), check_(check) {}

Result<> BlobWriter::write(std::span<const std::byte> data) {
  if (check_ == Check::here) hash_.update(data);
  const std::string_view bytes(reinterpret_cast<const char*>(data.data()), data.size());
  auto written = sys::write_all(file_.fd(), bytes);
  if (!written) return std::unexpected(std::move(written).error().with_context(store_->folder()));
  size_bytes_ += data.size();
  if (size_bytes_ - flushed_bytes_ >= kWritebackBytes) {
    sys::start_writeback(file_.fd(), flushed_bytes_, size_bytes_ - flushed_bytes_);
    flushed_bytes_ = size_bytes_;
  }
  return {};
}

Result<> BlobWriter::commit(const registry::Descriptor& blob) {
  if (size_bytes_ != blob.size_bytes) {
    return fail(Code::size_mismatch, blob.digest.text() + " has " + std::to_string(size_bytes_) +
                                         " bytes, not " + std::to_string(blob.size_bytes));
  }
  if (check_ == Check::here) {
    const registry::Digest digest(hash_.finish());
    if (digest != blob.digest) {
      return fail(Code::digest_mismatch, "content of " + digest.text() + " came as " + blob.digest.text());
    }
  }
  return put_into_place(blob.digest);
}

registry::Descriptor BlobWriter::describe(std::string_view media_type) {
  CHECK(check_ == Check::here);
  check_ = Check::by_caller;
  return {.media_type = std::string(media_type),
          .digest = registry::Digest(hash_.finish()),
          .size_bytes = size_bytes_,
          .platform = {}};
}

Result<> BlobWriter::put_into_place(const registry::Digest& digest) {
  TRY(sys::fsync(file_.fd(), file_.path()));
  return store_->move_into_blobs(file_, digest);
}

BlobReader::BlobReader(Store& store, Fd fd, registry::Descriptor blob)
    : store_(&store), fd_(std::move(fd)), blob_(std::move(blob)), left_bytes_(blob_.size_bytes) {}

Result<size_t> BlobReader::read(std::span<std::byte> to) {
  CHECK(!to.empty());
  if (checked_) return size_t{0};
  const size_t count = TRY(sys::read_some(fd_.get(), to, blob_.digest.text()));
  if (count > left_bytes_) return store_->damaged(blob_.digest, fd_.get(), "is too long");
  left_bytes_ -= count;
  hash_.update(to.first(count));
  if (count > 0) return count;
  if (left_bytes_ > 0) return store_->damaged(blob_.digest, fd_.get(), "is too short");
  if (registry::Digest(hash_.finish()) != blob_.digest) {
    return store_->damaged(blob_.digest, fd_.get(), "is not what its digest says");
  }
  checked_ = true;
  return size_t{0};
}

}  // namespace lambdo::image
