#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/error.h"
#include "http/client/client.h"
#include "http/client/client_connection.h"
#include "http/client/connection_pool.h"
#include "http/client/incoming_response.h"
#include "http/client/response_parser.h"
#include "http/url.h"
#include "reactor/reactor.h"

namespace lambdo::http {

/// One request and its response on one connection, which is kept for the next request where the response was
/// read to its end and allows that, else closed.
class Exchange {
 public:
  /// `settings` outlive it.
  Exchange(reactor::Reactor& reactor, const ClientSettings& settings, ConnectionPool::Slot slot,
           ClientConnection connection, Url url, Method method);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange();

  /// Sends the request and receives the response's head.
  Task<Result<>> perform(std::string head, std::string body, CancelToken token);
  Task<Result<BodyPiece>> read(CancelToken token);

  [[nodiscard]] const ResponseParser& parser() const { return parser_; }
  [[nodiscard]] const Url& url() const { return url_; }
  [[nodiscard]] bool peer_is_private() const { return connection_.peer_is_private; }
  /// The slot, for another connection in place of this one's, which is closed.
  [[nodiscard]] ConnectionPool::Slot take_slot();

 private:
  Task<Result<>> send(std::string head, std::string body, CancelToken token);
  Task<Result<>> receive_head(CancelToken token);
  Task<Result<BodyPiece>> receive_body(CancelToken token);
  Task<Result<size_t>> receive_some(CancelToken token);
  BodyPiece hand_out(size_t len_bytes);

  reactor::Reactor* reactor_;
  const ClientSettings* settings_;
  std::optional<ConnectionPool::Slot> slot_;
  ClientConnection connection_;
  Url url_;
  ResponseParser parser_;
  std::unique_ptr<std::byte[]> buffer_;  // of BodyPiece::kMaxBytes, made when needed
  BodyPiece first_;                      // what of the body came with the head
  bool failed_ = true;                   // until the head has come
};

}  // namespace lambdo::http
