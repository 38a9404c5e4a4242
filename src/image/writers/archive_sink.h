#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/error.h"

namespace lambdo::image {

/// What an initramfs is compressed with. `lz4` is the legacy frame, the only one that kernels unpack.
enum class ArchiveCompression : uint8_t { none, gzip, lz4, zstd };

/// Where an archive goes: compressed, and written to a descriptor in large pieces. The same bytes in give the
/// same bytes out, however they are cut.
class ArchiveSink {
 public:
  /// `fd` outlives the sink.
  static Result<std::unique_ptr<ArchiveSink>> create(ArchiveCompression compression, int fd);
  virtual ~ArchiveSink() = default;
  ArchiveSink(const ArchiveSink&) = delete;
  ArchiveSink& operator=(const ArchiveSink&) = delete;

  virtual Result<> write(std::span<const std::byte> data) = 0;
  /// Once, after the last write.
  virtual Result<> finish() = 0;
  /// To the descriptor.
  [[nodiscard]] uint64_t written_bytes() const { return written_bytes_; }

 protected:
  explicit ArchiveSink(int fd) : fd_(fd) {}
  Result<> put(std::span<const std::byte> data);

 private:
  int fd_;
  uint64_t written_bytes_ = 0;
};

}  // namespace lambdo::image
