#include "registry/blob_writer.h"

#include <algorithm>

#include "base/check.h"

namespace lambdo::registry {

using reactor::Task;

Task<Result<>> BlobWriter::take(std::span<const std::byte> data) {
  CHECK(data.size() <= missing());
  while (!data.empty()) {
    if (gathering_.capacity() == 0) {
      gathering_.reserve(static_cast<size_t>(std::min<uint64_t>(kBatchBytes, blob_->size_bytes)));
    }
    const size_t room = std::min(kBatchBytes - gathering_.size(), data.size());
    gathering_.insert(gathering_.end(), data.begin(), data.begin() + static_cast<ptrdiff_t>(room));
    received_ += room;
    data = data.subspan(room);
    if (gathering_.size() == kBatchBytes) CO_TRY(co_await hand_over());
  }
  co_return Result<>();
}

Task<Result<>> BlobWriter::hand_over() {
  co_await scope_.join();
  if (!outcome_) co_return outcome_;
  std::swap(gathering_, processing_);
  gathering_.clear();
  scope_.spawn(process());
  co_return Result<>();
}

Task<> BlobWriter::process() {
  co_await pool_->run([this] { sha256_.update(processing_); });
  outcome_ = co_await sink_->write(processing_);
}

Task<> BlobWriter::stop() {
  co_await scope_.join();
}

Task<Result<>> BlobWriter::flush() {
  if (!gathering_.empty()) CO_TRY(co_await hand_over());
  co_await scope_.join();
  co_return outcome_;
}

Task<Result<>> BlobWriter::restart() {
  co_await scope_.join();
  CO_TRY(outcome_);
  if (received_ == 0) co_return Result<>();
  gathering_.clear();
  sha256_ = Sha256();
  received_ = 0;
  co_return co_await sink_->restart();
}

Result<> BlobWriter::compare() {
  if (missing() > 0) {
    return fail(Code::size_mismatch, "the blob has " + std::to_string(received_) +
                                         " bytes, its descriptor says " + std::to_string(blob_->size_bytes));
  }
  const Digest digest(sha256_.finish());
  if (digest != blob_->digest) {
    return fail(Code::digest_mismatch,
                "the content has the digest " + digest.text() + ", not " + blob_->digest.text());
  }
  return {};
}

}  // namespace lambdo::registry
