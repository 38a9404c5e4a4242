#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

/// What the server and a helper process of its own say to each other: one message a packet of a
/// SOCK_SEQPACKET socket.
///
///   kind u8, count of numbers u8, count of texts u16, request u32, numbers u64 each, texts u32 length +
///   bytes
///
/// in host byte order. Either side takes the other's messages as hostile: what `decode` accepts has the
/// counts that its kind asks for. Descriptors go beside a message (reactor/helper/socket.h).
namespace lambdo::helper {

/// Answers, the same in all protocols; a protocol's own kinds come after.
enum : uint8_t {
  kSuccess = 0,  ///< the protocol says how many results
  kFailure = 1,  ///< numbers: Code, errno; texts: message
  kFirstOwnKind = 2,
};

struct Message {
  uint8_t kind = kSuccess;
  uint32_t request = 0;  ///< chosen by the asking side, repeated in the answer; 0 where unsolicited
  std::vector<uint64_t> numbers;
  std::vector<std::string> texts;

  bool operator==(const Message&) const = default;
};

/// How many numbers and texts a message of one kind has.
struct Shape {
  uint8_t min_numbers = 0;
  uint8_t max_numbers = 0;
  uint16_t min_texts = 0;
  uint16_t max_texts = 0;
};
constexpr uint16_t kAnyTexts = 0xffff;
/// Of kFailure in every protocol.
constexpr Shape kFailureShape = {2, 2, 1, 1};

/// By kind. Lives as long as the program.
using Protocol = std::span<const Shape>;

constexpr size_t kMaxMessageBytes = 64 << 10;

/// Code::invalid_argument where it is larger than kMaxMessageBytes.
Result<std::string> encode(Protocol protocol, const Message& message);
/// Code::invalid_argument where the bytes are no message of the protocol.
Result<Message> decode(Protocol protocol, std::span<const std::byte> bytes);

Message encode_failure(const Error& error);
Error decode_failure(const Message& message);

/// What a decoder says of a message whose shape is right and whose content is not.
std::unexpected<Error> malformed(const char* what);

}  // namespace lambdo::helper
