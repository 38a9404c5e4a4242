#pragma once

#include <initializer_list>
#include <optional>
#include <string>

#include "base/error.h"
#include "reactor/helper/message.h"
#include "reactor/helper/socket.h"

namespace lambdo::helper {

/// The helper process's side: the server's requests and their answers, over the socket that start_process()
/// gave it. Blocks, for a helper process has no reactor; its loop waits for the socket with poll(2).
class Requests {
 public:
  /// `socket` stays the caller's. `name` is for log lines: "launcher".
  Requests(int socket, Protocol protocol, std::string name)
      : socket_(socket), protocol_(protocol), name_(std::move(name)) {}

  [[nodiscard]] int socket() const { return socket_; }
  /// Waits for the next packet. nullopt where there is nothing to answer: the packet was no message of the
  /// protocol, which is logged, or the server is gone.
  std::optional<Received> receive();
  /// `receive` found that the server is gone.
  [[nodiscard]] bool server_is_gone() const { return server_is_gone_; }

  /// Answers the request of this number, with a message or with what went wrong. The descriptors stay the
  /// caller's. That the server is gone is told by the next `receive`.
  void answer(uint32_t request, Result<Message> result, std::initializer_list<int> attached = {}) const;
  /// Sends what nobody asked for.
  void send(const Message& message, std::initializer_list<int> attached = {}) const;

 private:
  int socket_;
  Protocol protocol_;
  std::string name_;
  bool server_is_gone_ = false;
};

}  // namespace lambdo::helper
