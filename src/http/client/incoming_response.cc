#include "http/client/incoming_response.h"

#include <utility>

#include "http/client/exchange.h"
#include "reactor/stream.h"

namespace lambdo::http {

IncomingResponse::IncomingResponse(std::unique_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
IncomingResponse::IncomingResponse(IncomingResponse&&) noexcept = default;
IncomingResponse& IncomingResponse::operator=(IncomingResponse&&) noexcept = default;
IncomingResponse::~IncomingResponse() = default;

int IncomingResponse::status() const {
  return exchange_->parser().status();
}

const Headers& IncomingResponse::headers() const {
  return exchange_->parser().headers();
}

const Url& IncomingResponse::url() const {
  return exchange_->url();
}

bool IncomingResponse::peer_is_private() const {
  return exchange_->peer_is_private();
}

std::optional<uint64_t> IncomingResponse::content_length() const {
  return exchange_->parser().content_length();
}

Task<Result<BodyPiece>> IncomingResponse::read(CancelToken token) {
  return exchange_->read(token);
}

Task<Result<std::string>> IncomingResponse::read_all(size_t max_bytes, CancelToken token) {
  std::string body;
  while (true) {
    const BodyPiece piece = CO_TRY(co_await read(token));
    if (piece.empty()) co_return body;
    if (piece.bytes().size() > max_bytes - body.size()) {
      co_return fail(Code::payload_too_large,
                     "the response is over the limit of " + std::to_string(max_bytes) + " bytes");
    }
    body += reactor::as_text(piece.bytes());
  }
}

}  // namespace lambdo::http
