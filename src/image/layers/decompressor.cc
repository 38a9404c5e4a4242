#include "image/layers/decompressor.h"

#include <isa-l/igzip_lib.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "registry/manifest.h"

namespace lambdo::image {

namespace {

using namespace std::string_view_literals;

constexpr size_t kInputBytes = 64 << 10;
constexpr size_t kMagicBytes = 4;
// 32 MiB: the encoder that BuildKit, containerd and Podman use (klauspost/compress) has taken windows of 4,
// 8, 16 and 32 MiB for its four levels, and zstd those of 8 MiB at most up to level 19. Each layer that is
// being read may need so much memory.
constexpr int kMaxZstdWindowLog = 25;

std::string_view compression_name(LayerCompression compression) {
  switch (compression) {
    case LayerCompression::none:
      return "a tar archive that is not compressed";
    case LayerCompression::gzip:
      return "gzip";
    case LayerCompression::zstd:
      return "zstd";
  }
  return "";
}

std::unexpected<Error> damaged(std::string_view what) {
  return fail(Code::layer_invalid, std::string(what));
}

/// Compressed bytes, in a buffer that the decoders look into.
class Input {
 public:
  explicit Input(ReadBlob read) : read_(std::move(read)), buffer_(kInputBytes) {}

  [[nodiscard]] std::span<std::byte> unread() { return std::span(buffer_).subspan(at_, end_ - at_); }
  void consume(size_t count) { at_ += count; }
  /// More where nothing is left; false at the end.
  Result<bool> fill() {
    if (at_ < end_) return true;
    at_ = 0;
    end_ = TRY(read_(buffer_));
    return end_ > 0;
  }
  /// At least `count` bytes unread, where the blob has so many.
  Result<> look_ahead(size_t count) {
    while (end_ - at_ < count) {
      std::memmove(buffer_.data(), buffer_.data() + at_, end_ - at_);
      end_ -= std::exchange(at_, 0);
      const size_t more = TRY(read_(std::span(buffer_).subspan(end_)));
      if (more == 0) break;
      end_ += more;
    }
    return {};
  }
  /// Whether only zeros are left, which some writers of archives pad with.
  Result<bool> only_zeros() {
    while (TRY(fill())) {
      if (!std::ranges::all_of(unread(), [](std::byte byte) { return byte == std::byte{0}; })) return false;
      consume(unread().size());
    }
    return true;
  }

 private:
  ReadBlob read_;
  std::vector<std::byte> buffer_;
  size_t at_ = 0;
  size_t end_ = 0;
};

class Copier final : public Decompressor {
 public:
  explicit Copier(Input input) : input_(std::move(input)) {}

  Result<size_t> read(std::span<std::byte> to) override {
    size_t done = 0;
    while (done < to.size() && TRY(input_.fill())) {
      const auto from = input_.unread();
      const size_t count = std::min(from.size(), to.size() - done);
      std::memcpy(&to[done], from.data(), count);
      input_.consume(count);
      done += count;
    }
    return done;
  }

 private:
  Input input_;
};

/// ISA-L's inflate, about twice as fast as zlib's.
class Gunzip final : public Decompressor {
 public:
  explicit Gunzip(Input input) : input_(std::move(input)), state_(std::make_unique<inflate_state>()) {
    ::isal_inflate_init(state_.get());
    state_->crc_flag = ISAL_GZIP;
  }

  Result<size_t> read(std::span<std::byte> to) override {
    size_t done = 0;
    while (done < to.size() && !ended_) {
      const bool has_input = TRY(input_.fill());
      if (state_->block_state == ISAL_BLOCK_FINISH && (!has_input || !TRY(next_member()))) {
        ended_ = true;
        break;
      }
      const size_t count = TRY(inflate(to.subspan(done)));
      // Without input there may still be output that had no room before.
      if (count == 0 && !has_input && state_->block_state != ISAL_BLOCK_FINISH) {
        return damaged("the gzip data ends early");
      }
      done += count;
    }
    return done;
  }

 private:
  /// Between two members; false at the end of the stream.
  Result<bool> next_member() {
    if (input_.unread().front() == std::byte{0x1f}) {
      ::isal_inflate_reset(state_.get());
      state_->crc_flag = ISAL_GZIP;
      return true;
    }
    if (!TRY(input_.only_zeros())) return damaged("something that is no gzip data follows the gzip data");
    return false;
  }

  Result<size_t> inflate(std::span<std::byte> to) {
    const auto from = input_.unread();
    state_->next_in = reinterpret_cast<uint8_t*>(from.data());
    state_->avail_in = static_cast<uint32_t>(from.size());
    state_->next_out = reinterpret_cast<uint8_t*>(to.data());
    state_->avail_out = static_cast<uint32_t>(to.size());
    if (const int status = ::isal_inflate(state_.get()); status < 0 || status == ISAL_NEED_DICT) {
      return damaged(status == ISAL_INCORRECT_CHECKSUM ? "the gzip data's checksum is wrong"sv
                                                       : "the gzip data is damaged"sv);
    }
    const size_t consumed = from.size() - state_->avail_in;
    const size_t produced = to.size() - state_->avail_out;
    if (consumed == 0 && produced == 0 && !from.empty() && state_->block_state != ISAL_BLOCK_FINISH) {
      return damaged("the gzip data is damaged");
    }
    input_.consume(consumed);
    return produced;
  }

  Input input_;
  std::unique_ptr<inflate_state> state_;
  bool ended_ = false;
};

class Unzstd final : public Decompressor {
 public:
  explicit Unzstd(Input input) : input_(std::move(input)), stream_(::ZSTD_createDStream()) {
    if (stream_) ::ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, kMaxZstdWindowLog);
  }
  [[nodiscard]] bool valid() const { return stream_ != nullptr; }

  Result<size_t> read(std::span<std::byte> to) override {
    ZSTD_outBuffer out = {.dst = to.data(), .size = to.size(), .pos = 0};
    while (out.pos < out.size && !ended_) {
      const bool has_input = TRY(input_.fill());
      if (!has_input && !holds_output_) {
        if (!frame_ended_) return damaged("the zstd data ends early");
        break;
      }
      if (frame_ended_ && has_input && input_.unread().front() == std::byte{0}) {
        if (!TRY(input_.only_zeros())) return damaged("something that is no zstd data follows the zstd data");
        ended_ = true;
        break;
      }
      TRY(decode(out));
    }
    return out.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DStream* stream) const { ::ZSTD_freeDStream(stream); }
  };

  Result<> decode(ZSTD_outBuffer& out) {
    const auto from = input_.unread();
    ZSTD_inBuffer in = {.src = from.data(), .size = from.size(), .pos = 0};
    const size_t status = ::ZSTD_decompressStream(stream_.get(), &out, &in);
    if (::ZSTD_getErrorCode(status) == ZSTD_error_frameParameter_windowTooLarge) {
      return fail(Code::image_too_large,
                  "its zstd data needs a window of over " + std::to_string(1U << (kMaxZstdWindowLog - 20U)) +
                      " MiB to be read; compress it anew with level 19 or less and without --long");
    }
    if (::ZSTD_isError(status) != 0) {
      return fail(Code::layer_invalid,
                  "the zstd data is damaged: " + std::string(::ZSTD_getErrorName(status)));
    }
    input_.consume(in.pos);
    frame_ended_ = status == 0;
    // A full buffer may mean that there is more, without further input.
    holds_output_ = !frame_ended_ && out.pos == out.size;
    return {};
  }

  Input input_;
  std::unique_ptr<ZSTD_DStream, Free> stream_;
  bool frame_ended_ = false;
  bool holds_output_ = false;
  bool ended_ = false;
};

}  // namespace

ReadBlob read_blob_from(int fd) {
  return [fd](std::span<std::byte> to) -> Result<size_t> {
    while (true) {
      const ssize_t count = ::read(fd, to.data(), to.size());
      if (count >= 0) return static_cast<size_t>(count);
      if (errno != EINTR) return fail_errno("read of a layer");
    }
  };
}

Result<LayerCompression> layer_compression(std::string_view media_type) {
  using namespace registry::media_type;
  if (media_type == kOciLayer || media_type == kDockerLayer) return LayerCompression::none;
  if (media_type == kOciLayerGzip || media_type == kDockerLayerGzip) return LayerCompression::gzip;
  if (media_type == kOciLayerZstd || media_type == kDockerLayerZstd) return LayerCompression::zstd;
  return fail(Code::media_type_unsupported,
              "layers of the type " + std::string(media_type) + " are not read");
}

LayerCompression detect_layer_compression(std::span<const std::byte> start) {
  const std::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
  if (text.starts_with("\x1f\x8b")) return LayerCompression::gzip;
  // A skippable frame may come first (RFC 8878, 3.1.2).
  const bool is_skippable = text.size() >= kMagicBytes && (static_cast<uint8_t>(text[0]) & 0xf0U) == 0x50 &&
                            text.substr(1).starts_with("\x2a\x4d\x18");
  if (is_skippable || text.starts_with("\x28\xb5\x2f\xfd")) return LayerCompression::zstd;
  return LayerCompression::none;
}

Result<std::unique_ptr<Decompressor>> Decompressor::create(LayerCompression compression, ReadBlob read) {
  Input input(std::move(read));
  TRY(input.look_ahead(kMagicBytes));
  if (input.unread().empty()) return damaged("it is empty");
  const LayerCompression found = detect_layer_compression(input.unread());
  if (found != compression) {
    return fail(Code::media_type_unsupported, "it is said to be " +
                                                  std::string(compression_name(compression)) + ", and is " +
                                                  std::string(compression_name(found)));
  }
  if (compression == LayerCompression::gzip) return std::make_unique<Gunzip>(std::move(input));
  if (compression == LayerCompression::none) return std::make_unique<Copier>(std::move(input));
  auto unzstd = std::make_unique<Unzstd>(std::move(input));
  if (!unzstd->valid()) return fail(Code::resource_exhausted, "no memory for a zstd decoder");
  return unzstd;
}

}  // namespace lambdo::image
