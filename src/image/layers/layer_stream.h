#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>

#include "base/error.h"
#include "base/sha256.h"
#include "image/layers/decompressor.h"

namespace lambdo::image {

/// A layer's tar archive as bytes: decompressed and hashed on a thread of its own, a few buffers ahead of
/// whoever reads.
class LayerStream {
 public:
  /// image_too_large is read once more than `max_bytes` would come. `stop` outlives the stream.
  LayerStream(LayerCompression compression, ReadBlob read, uint64_t max_bytes, const std::atomic<bool>& stop);
  /// Waits for the thread, which waits for the call of `read` that it is in.
  ~LayerStream();
  LayerStream(const LayerStream&) = delete;
  LayerStream& operator=(const LayerStream&) = delete;

  /// The next bytes, valid until the next call; empty at the end.
  Result<std::span<const std::byte>> next();

  /// After the end.
  [[nodiscard]] uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] const Sha256::Value& hash() const { return hash_; }
  /// Whether the last block was one of zeros, as at the end of every whole tar archive.
  [[nodiscard]] bool ends_in_zeros() const { return ends_in_zeros_; }

 private:
  static constexpr size_t kBuffers = 3;
  static constexpr size_t kBufferBytes = 64 << 10;

  struct Buffer {
    std::unique_ptr<std::byte[]> bytes = std::make_unique_for_overwrite<std::byte[]>(kBufferBytes);
    size_t len_bytes = 0;
  };

  void produce(LayerCompression compression, ReadBlob read);
  Result<> produce_all(LayerCompression compression, ReadBlob read);
  /// The next buffer to fill; null where nobody reads any more.
  Buffer* await_free();
  void note_end(std::span<const std::byte> last);

  uint64_t max_bytes_;
  const std::atomic<bool>* stop_;
  uint64_t size_bytes_ = 0;
  Sha256::Value hash_{};
  bool ends_in_zeros_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Buffer, kBuffers> buffers_;
  size_t filled_ = 0;    ///< buffers ever filled
  size_t returned_ = 0;  ///< buffers ever given back
  bool holds_one_ = false;
  bool closed_ = false;
  std::optional<Result<>> end_;
  std::thread thread_;
};

}  // namespace lambdo::image
