#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/message.h"
#include "http/url.h"

namespace lambdo::http {

class Exchange;

/// A response as a whole.
struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;
  Url url;  ///< where it came from in the end
  bool peer_is_private = false;
};

/// A piece of a body, which owns its memory; empty at the body's end.
class [[nodiscard]] BodyPiece {
 public:
  static constexpr size_t kMaxBytes = 64 << 10;

  BodyPiece() = default;
  BodyPiece(std::unique_ptr<std::byte[]> memory, size_t len_bytes)
      : memory_(std::move(memory)), len_bytes_(len_bytes) {}
  BodyPiece(BodyPiece&& other) noexcept
      : memory_(std::move(other.memory_)), len_bytes_(std::exchange(other.len_bytes_, 0)) {}
  BodyPiece& operator=(BodyPiece&& other) noexcept {
    memory_ = std::move(other.memory_);
    len_bytes_ = std::exchange(other.len_bytes_, 0);
    return *this;
  }

  [[nodiscard]] std::span<const std::byte> bytes() const { return {memory_.get(), len_bytes_}; }
  [[nodiscard]] bool empty() const { return len_bytes_ == 0; }

 private:
  std::unique_ptr<std::byte[]> memory_;
  size_t len_bytes_ = 0;
};

/// A response whose head has come. Nothing of the body is received before it is read: a reader that is slow
/// slows the peer down. Dropped before the body's end it closes its connection, else the connection is kept.
class [[nodiscard]] IncomingResponse {
 public:
  explicit IncomingResponse(std::unique_ptr<Exchange> exchange);
  IncomingResponse(IncomingResponse&&) noexcept;
  IncomingResponse& operator=(IncomingResponse&&) noexcept;
  /// No `read` may be waiting.
  ~IncomingResponse();

  [[nodiscard]] int status() const;
  [[nodiscard]] const Headers& headers() const;
  /// Where it came from, after redirects.
  [[nodiscard]] const Url& url() const;
  /// Whether the server's address is not a public one. Through a proxy: whether the URL says so.
  [[nodiscard]] bool peer_is_private() const;
  /// The body's length where the head tells it (RFC 9112, 6.3).
  [[nodiscard]] std::optional<uint64_t> content_length() const;
  /// The next piece, at most BodyPiece::kMaxBytes; empty at the body's end. Code::closed where the body
  /// breaks off, Code::timeout where nothing comes for the idle limit; after an error the response is of no
  /// more use. One call at a time.
  Task<Result<BodyPiece>> read(CancelToken token = {});
  /// The rest of the body; Code::payload_too_large where it is over the cap.
  Task<Result<std::string>> read_all(size_t max_bytes, CancelToken token = {});

 private:
  std::unique_ptr<Exchange> exchange_;
};

}  // namespace lambdo::http
