#include "http/client/exchange.h"

#include <algorithm>
#include <cstring>

#include "http/client/time_limit.h"

namespace lambdo::http {

namespace {

constexpr size_t kSendBytes = 64 << 10;
/// Below it a piece gets memory of its own size: who collects pieces shall not collect empty space.
constexpr size_t kSmallPieceBytes = 16 << 10;

std::string place(const Url& url) {
  return url.scheme + "://" + url.authority();
}

}  // namespace

Exchange::Exchange(reactor::Reactor& reactor, const ClientSettings& settings, ConnectionPool::Slot slot,
                   ClientConnection connection, Url url, Method method)
    : reactor_(&reactor),
      settings_(&settings),
      slot_(std::move(slot)),
      connection_(std::move(connection)),
      url_(std::move(url)),
      parser_(method == Method::head ? ResponseParser::Body::none : ResponseParser::Body::by_head,
              settings.limits.max_head_bytes) {}

Exchange::~Exchange() {
  if (slot_ && !failed_ && parser_.complete() && parser_.keep_alive()) {
    connection_.used = true;
    slot_->keep(std::move(connection_));
  }
}

ConnectionPool::Slot Exchange::take_slot() {
  ConnectionPool::Slot slot = std::move(*slot_);
  slot_.reset();
  return slot;
}

Task<Result<>> Exchange::perform(std::string head, std::string body, CancelToken token) {
  const Result<> sent = co_await send(std::move(head), std::move(body), token);
  if (!sent && sent.error().code != Code::closed && sent.error().code != Code::timeout) co_return sent;
  auto received = co_await receive_head(token);
  if (received) {
    // A server may answer, 413 say, and close before it has read all: its answer counts, not that we could
    // not send. But then the connection is of no more use.
    failed_ = !sent;
    co_return received;
  }
  Error error = sent || parser_.started() ? std::move(received).error() : sent.error();
  co_return std::unexpected(std::move(error).with_context(place(url_)));
}

Task<Result<>> Exchange::send(std::string head, std::string body, CancelToken token) {
  // Small bodies go out together with the head.
  size_t offset = std::min(body.size(), kSendBytes);
  std::string first = std::move(head);
  first.append(body, 0, offset);
  std::string_view piece = first;
  while (true) {
    TimeLimit limit(*reactor_, settings_->timeouts.idle_body_ms, token);
    auto sent = co_await connection_.stream->send(reactor::as_bytes(piece), limit.token());
    if (!sent) co_return std::unexpected(limit.explain(std::move(sent).error(), "sending the request"));
    if (offset == body.size()) co_return sent;
    piece = std::string_view(body).substr(offset, kSendBytes);
    offset += piece.size();
  }
}

/// Receives into the buffer and parses: how many bytes of the body stand at its front. Where none do, the
/// response may be complete.
Task<Result<size_t>> Exchange::receive_some(CancelToken token) {
  if (!buffer_) buffer_ = std::make_unique_for_overwrite<std::byte[]>(BodyPiece::kMaxBytes);
  const std::span buffer(buffer_.get(), BodyPiece::kMaxBytes);
  const size_t count = CO_TRY(co_await connection_.stream->receive_into(buffer, token));
  if (count == 0) {
    CO_TRY(parser_.finish());
    co_return size_t{0};
  }
  co_return parser_.feed(buffer.first(count));
}

BodyPiece Exchange::hand_out(size_t len_bytes) {
  if (len_bytes == 0) return {};
  if (len_bytes > kSmallPieceBytes) return {std::move(buffer_), len_bytes};
  auto memory = std::make_unique_for_overwrite<std::byte[]>(len_bytes);
  std::memcpy(memory.get(), buffer_.get(), len_bytes);
  return {std::move(memory), len_bytes};
}

Task<Result<>> Exchange::receive_head(CancelToken token) {
  TimeLimit limit(*reactor_, settings_->timeouts.response_head_ms, token);
  while (!parser_.head_complete()) {
    const auto body_bytes = co_await receive_some(limit.token());
    if (!body_bytes) co_return std::unexpected(limit.explain(body_bytes.error(), "the response's head"));
    first_ = hand_out(*body_bytes);
  }
  co_return Result<>{};
}

Task<Result<BodyPiece>> Exchange::receive_body(CancelToken token) {
  TimeLimit limit(*reactor_, settings_->timeouts.idle_body_ms, token);
  while (!parser_.complete()) {
    const auto body_bytes = co_await receive_some(limit.token());
    if (!body_bytes) {
      failed_ = true;
      const Error error = limit.explain(body_bytes.error(), "waiting for more of the body");
      co_return std::unexpected(Error(error).with_context(place(url_)));
    }
    if (*body_bytes > 0) co_return hand_out(*body_bytes);
  }
  buffer_.reset();
  co_return BodyPiece();
}

Task<Result<BodyPiece>> Exchange::read(CancelToken token) {
  if (!first_.empty()) co_return std::exchange(first_, {});
  co_return co_await receive_body(token);
}

}  // namespace lambdo::http
