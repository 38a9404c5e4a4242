#pragma once

#include <sys/socket.h>

#include <array>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "reactor/helper/message.h"

namespace lambdo::helper {

/// Descriptors that a message can have beside it.
constexpr size_t kMaxAttached = 2;
using Attachments = std::array<Fd, kMaxAttached>;  ///< the first ones that are there, then none

struct Received {
  Message message;
  Attachments attached;
};

/// Blocking sending and receiving, for the helper and for the server before its reactor runs. The descriptors
/// stay the caller's.
Result<> send_message(int socket, Protocol protocol, const Message& message,
                      std::initializer_list<int> attached = {});
/// nullopt at the end of the connection. Code::invalid_argument where the packet is no message; the next one
/// can be received then.
Result<std::optional<Received>> receive_message(int socket, Protocol protocol);

/// A packet with its control data, for sendmsg(2) and recvmsg(2) wherever they are called. Does not move:
/// `header` points into it.
class Packet {
 public:
  /// To be sent: `bytes` with descriptors, which stay the caller's.
  Packet(std::string bytes, std::span<const int> attached);
  /// To be received into.
  Packet();
  Packet(const Packet&) = delete;
  Packet& operator=(const Packet&) = delete;

  [[nodiscard]] msghdr& header() { return header_; }
  /// Makes it ready to be received into again.
  void reset();
  /// After `count` bytes were received: what they are. Owns the descriptors, also those of no message.
  Result<Received> take(Protocol protocol, size_t count);

 private:
  std::string bytes_;
  iovec part_{};
  msghdr header_{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxAttached * sizeof(int))> control_{};
};

}  // namespace lambdo::helper
