#include "reactor/helper/message.h"

#include <cstring>

#include "base/check.h"

namespace lambdo::helper {

namespace {

constexpr size_t kHeaderBytes = 8;
constexpr size_t kMaxTexts = 1024;

void put(std::string& out, const auto& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename T>
  bool take(T& value) {
    if (rest_.size() < sizeof value) return false;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_ = rest_.subspan(sizeof value);
    return true;
  }
  bool take_text(std::string& text) {
    uint32_t len_bytes = 0;
    if (!take(len_bytes) || rest_.size() < len_bytes) return false;
    text.assign(reinterpret_cast<const char*>(rest_.data()), len_bytes);
    rest_ = rest_.subspan(len_bytes);
    return true;
  }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
};

bool fits(const Shape& shape, size_t numbers, size_t texts) {
  return numbers >= shape.min_numbers && numbers <= shape.max_numbers && texts >= shape.min_texts &&
         (texts <= shape.max_texts || shape.max_texts == kAnyTexts);
}

}  // namespace

std::unexpected<Error> malformed(const char* what) {
  return fail(Code::invalid_argument, std::string("malformed message: ") + what);
}

Result<std::string> encode(Protocol protocol, const Message& message) {
  CHECK(message.kind < protocol.size());
  CHECK(fits(protocol[message.kind], message.numbers.size(), message.texts.size()));
  std::string out;
  put(out, message.kind);
  put(out, static_cast<uint8_t>(message.numbers.size()));
  put(out, static_cast<uint16_t>(message.texts.size()));
  put(out, message.request);
  for (const uint64_t number : message.numbers) put(out, number);
  for (const std::string& text : message.texts) {
    put(out, static_cast<uint32_t>(text.size()));
    out += text;
  }
  if (message.texts.size() > kMaxTexts || out.size() > kMaxMessageBytes) {
    return fail(Code::invalid_argument,
                "too large for a helper process: paths and environment together may have " +
                    std::to_string(kMaxMessageBytes) + " bytes and " + std::to_string(kMaxTexts) + " parts");
  }
  return out;
}

Result<Message> decode(Protocol protocol, std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes || bytes.size() > kMaxMessageBytes) return malformed("length");
  Reader reader(bytes);
  uint8_t numbers = 0;
  uint16_t texts = 0;
  Message message;
  reader.take(message.kind);
  reader.take(numbers);
  reader.take(texts);
  reader.take(message.request);
  if (message.kind >= protocol.size()) return malformed("unknown kind");
  if (!fits(protocol[message.kind], numbers, texts) || texts > kMaxTexts) {
    return malformed("count of numbers or texts");
  }
  message.numbers.resize(numbers);
  for (uint64_t& number : message.numbers) {
    if (!reader.take(number)) return malformed("cut off in a number");
  }
  message.texts.resize(texts);
  for (std::string& text : message.texts) {
    if (!reader.take_text(text)) return malformed("cut off in a text");
  }
  if (!reader.at_end()) return malformed("bytes after the end");
  return message;
}

Message encode_failure(const Error& error) {
  constexpr size_t kMaxTextBytes = 4096;
  return {.kind = kFailure,
          .numbers = {static_cast<uint64_t>(error.code), static_cast<uint64_t>(error.os_errno)},
          .texts = {error.message.substr(0, kMaxTextBytes)}};
}

Error decode_failure(const Message& message) {
  const bool known = message.numbers[0] <= static_cast<uint64_t>(kLastCode);
  return {.code = known ? static_cast<Code>(message.numbers[0]) : Code::internal,
          .os_errno = static_cast<int>(message.numbers[1]),
          .message = message.texts[0]};
}

}  // namespace lambdo::helper
