#include "reactor/helper/requests.h"

#include <utility>

#include "base/log.h"

namespace lambdo::helper {

std::optional<Received> Requests::receive() {
  Result<std::optional<Received>> received = receive_message(socket_, protocol_);
  if (received && *received) return std::move(*received);
  if (!received && received.error().code == Code::invalid_argument) {
    log::error(name_ + ": ignored a request", {{"error", received.error().message}});
  } else {
    server_is_gone_ = true;
  }
  return std::nullopt;
}

void Requests::answer(uint32_t request, Result<Message> result, std::initializer_list<int> attached) const {
  Message message = result ? std::move(*result) : encode_failure(result.error());
  message.request = request;
  send(message, attached);
}

void Requests::send(const Message& message, std::initializer_list<int> attached) const {
  static_cast<void>(send_message(socket_, protocol_, message, attached));
}

}  // namespace lambdo::helper
