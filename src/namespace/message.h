#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "namespace/sandbox.h"

/// What the server and its launcher say to each other: one message a packet of a SOCK_SEQPACKET socket.
///
///   kind u8, count of numbers u8, count of texts u16, request u32, numbers u64 each, texts u32 length +
///   bytes
///
/// in host byte order. Either side takes the other's messages as hostile: what `decode` accepts has the
/// counts that its kind asks for.
namespace lambdo::namespaces {

enum class Kind : uint8_t {
  define,      ///< numbers: see encode_spec
  launch,      ///< numbers: specification, sandbox; one descriptor: the agent's socket
  set_limits,  ///< numbers: sandbox, memory MiB, processes
  usage,       ///< numbers: sandbox
  destroy,     ///< numbers: sandbox
  stop,        ///< destroys all; the launcher exits after its reply
  success,     ///< numbers: three results
  failure,     ///< numbers: Code, errno; texts: message
  exited,      ///< unsolicited; numbers: sandbox, wait status; texts: output
  report,      ///< unsolicited, first; see encode_report
};

struct Message {
  Kind kind = Kind::stop;
  uint32_t request = 0;  ///< chosen by the asking side, repeated in the answer; 0 where unsolicited
  std::vector<uint64_t> numbers;
  std::vector<std::string> texts;

  bool operator==(const Message&) const = default;
};

constexpr size_t kMaxMessageBytes = 64 << 10;

/// Code::invalid_argument where it is larger than kMaxMessageBytes.
Result<std::string> encode(const Message& message);
/// Code::invalid_argument where the bytes are no message.
Result<Message> decode(std::span<const std::byte> bytes);

Message encode_spec(const SandboxSpec& spec);
Result<SandboxSpec> decode_spec(const Message& message);
Message encode_report(const LauncherReport& report);
LauncherReport decode_report(const Message& message);
Message encode_failure(const Error& error);
Error decode_failure(const Message& message);

}  // namespace lambdo::namespaces
