#include "image/writers/archive_sink.h"

#include <lz4.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/syscalls.h"

namespace lambdo::image {

namespace {

constexpr size_t kOutputBytes = 256 << 10;

/// Collects `capacity` bytes; what is written in larger pieces passes by.
class Collector {
 public:
  explicit Collector(size_t capacity) : bytes_(capacity) {}

  [[nodiscard]] std::span<const std::byte> filled() const { return std::span(bytes_).first(size_); }
  [[nodiscard]] bool is_full() const { return size_ == bytes_.size(); }
  void clear() { size_ = 0; }
  /// What did not fit is given back.
  std::span<const std::byte> take(std::span<const std::byte> data) {
    const size_t count = std::min(data.size(), bytes_.size() - size_);
    if (count != 0) std::memcpy(&bytes_[size_], data.data(), count);
    size_ += count;
    return data.subspan(count);
  }

 private:
  std::vector<std::byte> bytes_;
  size_t size_ = 0;
};

class PlainSink final : public ArchiveSink {
 public:
  explicit PlainSink(int fd) : ArchiveSink(fd), buffer_(kOutputBytes) {}

  Result<> write(std::span<const std::byte> data) override {
    while (!data.empty()) {
      data = buffer_.take(data);
      if (buffer_.is_full()) TRY(finish());
    }
    return {};
  }
  Result<> finish() override {
    TRY(put(buffer_.filled()));
    buffer_.clear();
    return {};
  }

 private:
  Collector buffer_;
};

class GzipSink final : public ArchiveSink {
 public:
  explicit GzipSink(int fd) : ArchiveSink(fd), output_(kOutputBytes) {
    // A header without name and time.
    constexpr int kGzipWindow = MAX_WBITS + 16;
    constexpr int kMemoryLevel = 8;
    valid_ = ::deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindow, kMemoryLevel,
                            Z_DEFAULT_STRATEGY) == Z_OK;
  }
  ~GzipSink() override {
    if (valid_) ::deflateEnd(&stream_);
  }
  [[nodiscard]] bool valid() const { return valid_; }

  Result<> write(std::span<const std::byte> data) override { return deflate(data, Z_NO_FLUSH); }
  Result<> finish() override { return deflate({}, Z_FINISH); }

 private:
  Result<> deflate(std::span<const std::byte> data, int flush) {
    stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(data.data()));
    stream_.avail_in = static_cast<uInt>(data.size());
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(output_.data());
      stream_.avail_out = static_cast<uInt>(output_.size());
      CHECK(::deflate(&stream_, flush) != Z_STREAM_ERROR);
      TRY(put(std::span(output_).first(output_.size() - stream_.avail_out)));
    } while (stream_.avail_out == 0);
    return {};
  }

  z_stream stream_ = {};
  std::vector<std::byte> output_;
  bool valid_ = false;
};

/// LZ4's legacy frame (lz4_Frame_format.md, "Legacy frame"): a magic number, then blocks of up to 8 MiB, each
/// behind its compressed length. Smaller ones, for less memory; the kernel takes what comes
/// (lib/decompress_unlz4.c).
class Lz4Sink final : public ArchiveSink {
 public:
  explicit Lz4Sink(int fd)
      : ArchiveSink(fd), input_(kBlockBytes), output_(::LZ4_compressBound(static_cast<int>(kBlockBytes))) {}

  Result<> write(std::span<const std::byte> data) override {
    while (!data.empty()) {
      data = input_.take(data);
      if (input_.is_full()) TRY(put_block());
    }
    return {};
  }
  Result<> finish() override {
    TRY(put_block());
    return put_magic();
  }

 private:
  static constexpr size_t kBlockBytes = 1 << 20;
  static constexpr uint32_t kMagic = 0x184c2102;

  Result<> put_number(uint32_t number) {
    std::array<std::byte, 4> bytes;
    for (std::byte& byte : bytes) {
      byte = static_cast<std::byte>(number & 0xffU);
      number >>= 8U;
    }
    return put(bytes);
  }
  Result<> put_magic() {
    if (has_magic_) return {};
    has_magic_ = true;
    return put_number(kMagic);
  }
  Result<> put_block() {
    const auto block = input_.filled();
    if (block.empty()) return {};
    TRY(put_magic());
    const int len_bytes = ::LZ4_compress_default(
        reinterpret_cast<const char*>(block.data()), reinterpret_cast<char*>(output_.data()),
        static_cast<int>(block.size()), static_cast<int>(output_.size()));
    CHECK(len_bytes > 0);
    TRY(put_number(static_cast<uint32_t>(len_bytes)));
    TRY(put(std::span(output_).first(static_cast<size_t>(len_bytes))));
    input_.clear();
    return {};
  }

  Collector input_;
  std::vector<std::byte> output_;
  bool has_magic_ = false;
};

class ZstdSink final : public ArchiveSink {
 public:
  explicit ZstdSink(int fd) : ArchiveSink(fd), stream_(::ZSTD_createCCtx()), output_(kOutputBytes) {
    if (stream_) ::ZSTD_CCtx_setParameter(stream_.get(), ZSTD_c_checksumFlag, 1);
  }
  [[nodiscard]] bool valid() const { return stream_ != nullptr; }

  Result<> write(std::span<const std::byte> data) override { return compress(data, ZSTD_e_continue); }
  Result<> finish() override { return compress({}, ZSTD_e_end); }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* stream) const { ::ZSTD_freeCCtx(stream); }
  };

  Result<> compress(std::span<const std::byte> data, ZSTD_EndDirective directive) {
    ZSTD_inBuffer in = {.src = data.data(), .size = data.size(), .pos = 0};
    bool is_done = false;
    while (!is_done) {
      ZSTD_outBuffer out = {.dst = output_.data(), .size = output_.size(), .pos = 0};
      const size_t left = ::ZSTD_compressStream2(stream_.get(), &out, &in, directive);
      if (::ZSTD_isError(left) != 0) {
        return fail(Code::resource_exhausted, "zstd: " + std::string(::ZSTD_getErrorName(left)));
      }
      TRY(put(std::span(output_).first(out.pos)));
      is_done = directive == ZSTD_e_end ? left == 0 : in.pos == in.size;
    }
    return {};
  }

  std::unique_ptr<ZSTD_CCtx, Free> stream_;
  std::vector<std::byte> output_;
};

template <typename Sink>
Result<std::unique_ptr<ArchiveSink>> create_checked(int fd) {
  auto sink = std::make_unique<Sink>(fd);
  if (!sink->valid()) return fail(Code::resource_exhausted, "no memory for a compressor");
  return sink;
}

}  // namespace

Result<> ArchiveSink::put(std::span<const std::byte> data) {
  if (data.empty()) return {};
  TRY(sys::write_all(fd_, std::string_view(reinterpret_cast<const char*>(data.data()), data.size())));
  written_bytes_ += data.size();
  return {};
}

Result<std::unique_ptr<ArchiveSink>> ArchiveSink::create(ArchiveCompression compression, int fd) {
  switch (compression) {
    case ArchiveCompression::none:
      return std::make_unique<PlainSink>(fd);
    case ArchiveCompression::gzip:
      return create_checked<GzipSink>(fd);
    case ArchiveCompression::lz4:
      return std::make_unique<Lz4Sink>(fd);
    case ArchiveCompression::zstd:
      return create_checked<ZstdSink>(fd);
  }
  return fail(Code::internal, "no such compression");
}

}  // namespace lambdo::image
