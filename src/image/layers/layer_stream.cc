#include "image/layers/layer_stream.h"

#include <algorithm>
#include <string>
#include <utility>

namespace lambdo::image {

namespace {

constexpr size_t kBlockBytes = 512;  // of tar archives

}  // namespace

LayerStream::LayerStream(LayerCompression compression, ReadBlob read, uint64_t max_bytes,
                         const std::atomic<bool>& stop)
    : max_bytes_(max_bytes), stop_(&stop) {
  thread_ = std::thread(&LayerStream::produce, this, compression, std::move(read));
}

LayerStream::~LayerStream() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<std::span<const std::byte>> LayerStream::next() {
  std::unique_lock lock(mutex_);
  if (std::exchange(holds_one_, false)) {
    ++returned_;
    changed_.notify_all();
  }
  changed_.wait(lock, [this] { return filled_ > returned_ || end_; });
  if (*stop_) return fail(Code::cancelled, "stopped");
  if (filled_ > returned_) {
    holds_one_ = true;
    const Buffer& buffer = buffers_[returned_ % kBuffers];
    return std::span<const std::byte>(buffer.bytes.get(), buffer.len_bytes);
  }
  if (!*end_) return std::unexpected(end_->error());
  return std::span<const std::byte>();
}

LayerStream::Buffer* LayerStream::await_free() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_ || filled_ - returned_ < kBuffers; });
  return closed_ ? nullptr : &buffers_[filled_ % kBuffers];
}

void LayerStream::produce(LayerCompression compression, ReadBlob read) {
  Result<> result = produce_all(compression, std::move(read));
  {
    const std::scoped_lock lock(mutex_);
    end_ = std::move(result);
  }
  changed_.notify_all();
}

Result<> LayerStream::produce_all(LayerCompression compression, ReadBlob read) {
  const auto decompressor = TRY(Decompressor::create(compression, std::move(read)));
  Sha256 hash;
  while (Buffer* buffer = await_free()) {
    if (*stop_) return fail(Code::cancelled, "stopped");
    const size_t count = TRY(decompressor->read({buffer->bytes.get(), kBufferBytes}));
    if (count == 0) break;
    size_bytes_ += count;
    if (size_bytes_ > max_bytes_) {
      return fail(Code::image_too_large,
                  "it is larger than " + std::to_string(max_bytes_) + " bytes unpacked");
    }
    const std::span<const std::byte> data(buffer->bytes.get(), count);
    hash.update(data);
    note_end(data);
    {
      const std::scoped_lock lock(mutex_);
      buffer->len_bytes = count;
      ++filled_;
    }
    changed_.notify_all();
  }
  hash_ = hash.finish();
  return {};
}

void LayerStream::note_end(std::span<const std::byte> last) {
  // Buffers are full but for the last one, and a whole number of blocks long: what is shorter than a block is
  // the end of an archive that was cut off.
  ends_in_zeros_ =
      last.size() >= kBlockBytes &&
      std::ranges::all_of(last.last(kBlockBytes), [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace lambdo::image
