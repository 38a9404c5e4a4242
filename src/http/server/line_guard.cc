#include "http/server/line_guard.h"

namespace lambdo::http {

namespace {

constexpr LineProblem kBareCr{400, "a CR without its LF; lines end with CRLF"};
constexpr LineProblem kBareLf{400, "a LF without its CR; lines end with CRLF"};
constexpr LineProblem kControl{400, "a NUL or another control character in the request's head"};
constexpr LineProblem kFolded{400, "a header line that starts with white space; folded headers are obsolete"};
constexpr LineProblem kNoName{400, "a header line without a name"};
constexpr LineProblem kSpaces{400, "the request line must be: method, space, target, space, HTTP/1.1"};
constexpr LineProblem kNoVersion{505, "the request line names no version; send HTTP/1.1"};
constexpr LineProblem kVersion{505, "the version must be HTTP/1.1 or HTTP/1.0"};

/// The hexadecimal digits of a chunk's size that count as such and not as surplus.
constexpr size_t kMaxSizeDigits = 16;

bool is_control(char byte) {
  return (static_cast<unsigned char>(byte) < 0x20 && byte != '\t') || byte == 0x7f;
}

}  // namespace

LineGuard::Verdict LineGuard::check_head(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    i += skip_ordinary(bytes.substr(i));
    if (i == bytes.size()) break;
    const bool ends_line = after_cr_ && bytes[i] == '\n';
    const bool ends_head = ends_line && line_len_ == 0 && started_;
    if (const LineProblem* problem = check_byte(bytes[i])) return {i, problem, false};
    if (ends_head) return {i + 1, nullptr, true};
    // Empty lines before the request line are skipped (RFC 9112, 2.2).
    if (ends_line && started_) in_request_line_ = false;
  }
  return {bytes.size(), nullptr, false};
}

LineGuard::Verdict LineGuard::check_framing(std::string_view bytes) {
  in_request_line_ = false;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (const LineProblem* problem = check_byte(bytes[i])) return {i, problem, false};
    if (line_len_ > kMaxSizeDigits) ++surplus_bytes_;
  }
  return {bytes.size(), nullptr, false};
}

/// Passes the bytes within a header line that can be nothing but content; gives their count.
size_t LineGuard::skip_ordinary(std::string_view bytes) {
  if (in_request_line_ || after_cr_ || line_len_ == 0) return 0;
  size_t count = 0;
  while (count < bytes.size() && static_cast<unsigned char>(bytes[count]) >= ' ' && bytes[count] != 0x7f)
    ++count;
  line_len_ += count;
  return count;
}

const LineProblem* LineGuard::check_byte(char byte) {
  if (after_cr_) {
    if (byte != '\n') return &kBareCr;
    after_cr_ = false;
    line_len_ = 0;
    return nullptr;
  }
  if (byte == '\r') {
    after_cr_ = true;
    return in_request_line_ && started_ ? check_request_line() : nullptr;
  }
  if (byte == '\n') return &kBareLf;
  if (is_control(byte)) return &kControl;
  if (in_request_line_) {
    if (const LineProblem* problem = check_request_line_byte(byte)) return problem;
  } else if (line_len_ == 0) {
    if (byte == ' ' || byte == '\t') return &kFolded;
    if (byte == ':') return &kNoName;
  }
  ++line_len_;
  return nullptr;
}

const LineProblem* LineGuard::check_request_line_byte(char byte) {
  started_ = true;
  if (byte == ' ') {
    return ++spaces_ > 2 ? &kSpaces : nullptr;
  }
  if (spaces_ == 2) {
    if (protocol_len_ == protocol_.size()) return &kVersion;
    protocol_[protocol_len_++] = byte;
  }
  return nullptr;
}

const LineProblem* LineGuard::check_request_line() const {
  if (spaces_ < 2) return &kNoVersion;
  const std::string_view protocol(protocol_.data(), protocol_len_);
  return protocol == "HTTP/1.1" || protocol == "HTTP/1.0" ? nullptr : &kVersion;
}

}  // namespace lambdo::http
