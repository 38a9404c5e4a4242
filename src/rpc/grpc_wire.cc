#include "rpc/grpc_wire.h"

#include <algorithm>

#include "base/text.h"
#include "rpc/session_limits.h"

namespace lambdo::rpc {

/// What is set aside at once for a message that says it is large; the rest comes as its bytes do.
static constexpr size_t kMaxReserved = 4 << 20;

Status to_status(const Error& error) {
  switch (error.code) {
    case Code::invalid_argument:
      return {StatusCode::invalid_argument, error.message};
    case Code::resource_exhausted:
      return {StatusCode::resource_exhausted, error.message};
    case Code::permission_denied:
      return {StatusCode::permission_denied, error.message};
    case Code::cancelled:
      return {StatusCode::cancelled, error.message};
    case Code::closed:
    case Code::unavailable:
      return {StatusCode::unavailable, error.message};
    default:
      return {StatusCode::internal, error.message};
  }
}

std::string percent_encode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      encoded += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return encoded;
}

std::string percent_decode(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    decoded += low < 0 ? text[i] : static_cast<char>(high << 4 | low);
    if (low >= 0) i += 2;
  }
  return decoded;
}

std::string frame_message(const google::protobuf::MessageLite& message) {
  std::string framed(kPrefixBytes, '\0');
  message.AppendPartialToString(&framed);
  const size_t len_bytes = framed.size() - kPrefixBytes;
  for (size_t i = 1; i < kPrefixBytes; ++i) {
    framed[i] = static_cast<char>(len_bytes >> 8 * (kPrefixBytes - 1 - i));
  }
  return framed;
}

bool MessageReader::refuse(StatusCode code, std::string_view message) {
  message_ = {};
  status_ = {code, std::string(message)};
  return false;
}

bool MessageReader::read_prefix() {
  if (prefix_[0] != 0) return refuse(StatusCode::unimplemented, "compressed messages are not understood");
  for (size_t i = 1; i < kPrefixBytes; ++i) {
    len_bytes_ = len_bytes_ << 8 | static_cast<unsigned char>(prefix_[i]);
  }
  if (len_bytes_ > max_bytes_) {
    return refuse(StatusCode::resource_exhausted, "a message of " + std::to_string(len_bytes_) +
                                                      " bytes; the maximum is " + std::to_string(max_bytes_));
  }
  message_.reserve(std::min<size_t>(len_bytes_, kMaxReserved));
  return true;
}

bool MessageReader::append(std::string_view bytes) {
  if (status_.code != StatusCode::ok) return false;
  if (prefix_.size() < kPrefixBytes) {
    const size_t count = std::min(kPrefixBytes - prefix_.size(), bytes.size());
    prefix_.append(bytes.substr(0, count));
    bytes.remove_prefix(count);
    if (prefix_.size() < kPrefixBytes) return true;
    if (!read_prefix()) return false;
  }
  if (bytes.size() > len_bytes_ - message_.size()) {
    return refuse(StatusCode::unimplemented, "a unary call has one message");
  }
  message_.append(bytes);
  return true;
}

bool MessageReader::finish() {
  if (status_.code != StatusCode::ok) return false;
  if (prefix_.size() == kPrefixBytes && message_.size() == len_bytes_) return true;
  return refuse(StatusCode::internal, "the stream ends before its message does");
}

}  // namespace lambdo::rpc
