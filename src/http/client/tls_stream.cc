#include "http/client/tls_stream.h"

#include <mbedtls/error.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/ip.h"
#include "reactor/timer.h"

namespace lambdo::http {

namespace {

constexpr size_t kIncomingBytes = 32 << 10;
constexpr size_t kReceiveBytes = 16 << 10;
constexpr size_t kOutgoingBytes = 64 << 10;
// mbedTLS asks twice for a record: for its header, and for the rest. What 32 KiB hold of the smallest would
// take the loop for some milliseconds.
constexpr size_t kReadsPerTurn = 2 * 64;
// RFC 6066, 3: a name is at most this long.
constexpr size_t kMaxHostBytes = 255;

std::string error_text(int result) {
  std::array<char, 200> buffer{};
  mbedtls_strerror(result, buffer.data(), buffer.size());
  return buffer.data();
}

}  // namespace

TlsStream::TlsStream(TlsContext& context, std::unique_ptr<reactor::Stream> transport, std::string host)
    : transport_(std::move(transport)),
      host_(std::move(host)),
      check_(host_),
      reactor_(&context.reactor()),
      incoming_(std::make_unique_for_overwrite<std::byte[]>(kIncomingBytes)) {
  mbedtls_ssl_init(&ssl_);
}

TlsStream::~TlsStream() {
  mbedtls_ssl_free(&ssl_);
}

int TlsStream::write_record(void* self, const unsigned char* bytes, size_t len_bytes) {
  auto& stream = *static_cast<TlsStream*>(self);
  const auto data = std::as_bytes(std::span(bytes, len_bytes));
  stream.outgoing_.insert(stream.outgoing_.end(), data.begin(), data.end());
  return static_cast<int>(len_bytes);
}

int TlsStream::read_record(void* self, unsigned char* to, size_t len_bytes) {
  auto& stream = *static_cast<TlsStream*>(self);
  const size_t count = std::min(len_bytes, stream.incoming_end_ - stream.incoming_begin_);
  if (count == 0 || stream.reads_left_ == 0) return MBEDTLS_ERR_SSL_WANT_READ;
  --stream.reads_left_;
  std::memcpy(to, stream.incoming_.get() + stream.incoming_begin_, count);
  stream.incoming_begin_ += count;
  return static_cast<int>(count);
}

Result<> TlsStream::set_up(TlsContext& context) {
  if (host_.size() > kMaxHostBytes) return fail(Code::tls_failed, "the host's name is too long for TLS");
  int result = mbedtls_ssl_setup(&ssl_, &context.config());
  if (result == 0) {
    // Addresses are not sent as server names (RFC 6066, 3), and mbedTLS could not compare them: nullptr says
    // so.
    std::string name = host_;
    if (name.ends_with('.')) name.pop_back();
    result = mbedtls_ssl_set_hostname(&ssl_, IpAddress::parse(host_) ? nullptr : name.c_str());
  }
  if (result != 0) return fail(Code::resource_exhausted, "TLS: " + error_text(result));
  mbedtls_ssl_set_verify(&ssl_, CertificateCheck::verify, &check_);
  mbedtls_ssl_set_bio(&ssl_, this, write_record, read_record, nullptr);
  return {};
}

reactor::Task<Result<std::unique_ptr<TlsStream>>> TlsStream::connect(
    TlsContext& context, std::unique_ptr<reactor::Stream> transport, std::string host,
    reactor::CancelToken token) {
  CO_TRY(co_await context.load(token));
  std::unique_ptr<TlsStream> stream(new TlsStream(context, std::move(transport), std::move(host)));
  CO_TRY(stream->set_up(context));
  CO_TRY(co_await stream->handshake(context, token));
  stream->reads_left_ = kReadsPerTurn;
  co_return stream;
}

Error TlsStream::handshake_error(int result) const {
  if (result == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
    return check_.describe(mbedtls_ssl_get_verify_result(&ssl_));
  }
  std::string why = error_text(result);
  switch (result) {
    case MBEDTLS_ERR_SSL_INVALID_RECORD:
    case MBEDTLS_ERR_SSL_UNEXPECTED_RECORD:
      why = "what it answers is not TLS; is it a server for http:// URLs?";
      break;
    case MBEDTLS_ERR_SSL_BAD_HS_PROTOCOL_VERSION:
      why = "it does not speak TLS 1.2";
      break;
    case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
      why = "it refused the handshake (alert " + std::to_string(ssl_.in_msg[1]) + ")";
      if (ssl_.in_msg[1] == MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION) why += ": it does not speak TLS 1.2";
      if (ssl_.in_msg[1] == MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE) why += ": no cipher in common";
      break;
    default:
      break;
  }
  return {Code::tls_failed, 0, host_ + ": " + why};
}

reactor::Task<Result<>> TlsStream::handshake(TlsContext& context, reactor::CancelToken token) {
  while (true) {
    const int result = co_await context.pool().run([this] { return mbedtls_ssl_handshake(&ssl_); });
    // An alert that says why we refuse is worth sending, but not a better error if it cannot be sent.
    const Result<> sent = co_await flush(token);
    if (result == 0) co_return sent;
    if (result != MBEDTLS_ERR_SSL_WANT_READ) co_return std::unexpected(handshake_error(result));
    CO_TRY(sent);
    auto filled = co_await fill(token);
    if (!filled) {
      co_return std::unexpected(std::move(filled).error().with_context(host_ + ": during the TLS handshake"));
    }
  }
}

/// More records from the transport. Only where mbedTLS has read all there were.
reactor::Task<Result<>> TlsStream::fill(reactor::CancelToken token) {
  // Refusals to negotiate anew, which go out with the next request: a peer that asks for more wants our
  // memory.
  if (outgoing_.size() > kOutgoingBytes) co_return fail(Code::tls_failed, host_ + ": it asks to renegotiate");
  const size_t count =
      CO_TRY(co_await transport_->receive_into(std::span(incoming_.get(), kIncomingBytes), token));
  if (count == 0) co_return fail(Code::closed, "the connection was cut: it ended without TLS's close_notify");
  incoming_begin_ = 0;
  incoming_end_ = count;
  co_return Result<>{};
}

reactor::Task<Result<>> TlsStream::flush(reactor::CancelToken token) {
  if (outgoing_.empty()) co_return Result<>{};
  // A receiver may add to it meanwhile.
  const std::vector<std::byte> records = std::exchange(outgoing_, {});
  co_return co_await transport_->send(records, token);
}

/// What can be read without waiting; 0 bytes where that is nothing, or the end.
Result<size_t> TlsStream::decrypt(std::span<std::byte> buffer) {
  size_t total = 0;
  while (total < buffer.size()) {
    const auto rest = buffer.subspan(total);
    const int result = mbedtls_ssl_read(&ssl_, reinterpret_cast<unsigned char*>(rest.data()), rest.size());
    if (result > 0) {
      total += static_cast<size_t>(result);
      continue;
    }
    if (result == MBEDTLS_ERR_SSL_WANT_READ) break;
    if (result == 0 || result == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
      ended_ = true;
    } else {
      broken_ = Error{Code::tls_failed, 0, host_ + ": " + error_text(result)};
    }
    break;
  }
  // What was read before it broke is good: each record is authenticated by itself.
  if (broken_ && total == 0) return std::unexpected(*broken_);
  return total;
}

reactor::Task<Result<size_t>> TlsStream::receive_into(std::span<std::byte> buffer,
                                                      reactor::CancelToken token) {
  if (broken_) co_return std::unexpected(*broken_);
  while (!ended_ && !buffer.empty()) {
    const size_t count = CO_TRY(decrypt(buffer));
    if (count > 0) co_return count;
    if (ended_) break;
    // Either gives the loop a turn.
    const bool is_turn_used_up = reads_left_ == 0 && incoming_begin_ < incoming_end_;
    auto filled =
        is_turn_used_up ? co_await reactor::SleepOp::for_ms(*reactor_, 0, token) : co_await fill(token);
    reads_left_ = kReadsPerTurn;
    if (!filled) {
      if (filled.error().code != Code::cancelled) broken_ = filled.error();
      co_return std::unexpected(std::move(filled).error());
    }
  }
  co_return size_t{0};
}

reactor::Task<Result<reactor::Chunk>> TlsStream::receive(reactor::CancelToken token) {
  std::vector<std::byte> buffer(kReceiveBytes);
  buffer.resize(CO_TRY(co_await receive_into(buffer, token)));
  co_return reactor::Chunk(std::move(buffer));
}

reactor::Task<Result<>> TlsStream::send(std::span<const std::byte> data, reactor::CancelToken token) {
  while (!data.empty()) {
    while (!data.empty() && outgoing_.size() < kOutgoingBytes) {
      const int result =
          mbedtls_ssl_write(&ssl_, reinterpret_cast<const unsigned char*>(data.data()), data.size());
      if (result <= 0) co_return fail(Code::tls_failed, host_ + ": " + error_text(result));
      data = data.subspan(static_cast<size_t>(result));
    }
    CO_TRY(co_await flush(token));
  }
  co_return Result<>{};
}

}  // namespace lambdo::http
