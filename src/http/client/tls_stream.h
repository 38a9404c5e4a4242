#pragma once

#include <mbedtls/ssl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "http/client/certificate.h"
#include "http/client/tls_context.h"
#include "reactor/stream.h"

namespace lambdo::http {

/// The client's end of a TLS 1.2 connection over any stream.
///
/// The end of the stream is what the peer announces with close_notify; where the connection just ends,
/// receiving fails with Code::closed, because anybody on the way could have cut it (RFC 5246, 7.2.1).
///
/// However small the records are, the loop gets a turn after some dozens of them.
class TlsStream final : public reactor::Stream {
 public:
  /// Shakes hands with `host`, a name or an address, on the thread of the context's pool: that takes many
  /// milliseconds of computing. Code::tls_failed says why the peer is not accepted. The context outlives the
  /// stream.
  static reactor::Task<Result<std::unique_ptr<TlsStream>>> connect(TlsContext& context,
                                                                   std::unique_ptr<reactor::Stream> transport,
                                                                   std::string host,
                                                                   reactor::CancelToken token);
  ~TlsStream() override;
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  reactor::Task<Result<reactor::Chunk>> receive(reactor::CancelToken token) override;
  reactor::Task<Result<size_t>> receive_into(std::span<std::byte> buffer,
                                             reactor::CancelToken token) override;
  reactor::Task<Result<>> send(std::span<const std::byte> data, reactor::CancelToken token) override;
  /// Without close_notify, which would have to wait for the transport: the peer sees the connection cut.
  void shutdown_write() override { transport_->shutdown_write(); }

 private:
  TlsStream(TlsContext& context, std::unique_ptr<reactor::Stream> transport, std::string host);

  static int write_record(void* self, const unsigned char* bytes, size_t len_bytes);
  static int read_record(void* self, unsigned char* to, size_t len_bytes);
  Result<> set_up(TlsContext& context);
  reactor::Task<Result<>> handshake(TlsContext& context, reactor::CancelToken token);
  [[nodiscard]] Error handshake_error(int result) const;
  reactor::Task<Result<>> fill(reactor::CancelToken token);
  reactor::Task<Result<>> flush(reactor::CancelToken token);
  Result<size_t> decrypt(std::span<std::byte> buffer);

  std::unique_ptr<reactor::Stream> transport_;
  std::string host_;
  CertificateCheck check_;
  mbedtls_ssl_context ssl_;
  reactor::Reactor* reactor_;
  // How often mbedTLS may still ask for bytes before the loop gets a turn; the handshake is not on the loop.
  size_t reads_left_ = SIZE_MAX;
  // Records as they came, up to where mbedTLS has read them.
  std::unique_ptr<std::byte[]> incoming_;
  size_t incoming_begin_ = 0;
  size_t incoming_end_ = 0;
  std::vector<std::byte> outgoing_;
  bool ended_ = false;
  std::optional<Error> broken_;  ///< what receiving fails with from now on
};

}  // namespace lambdo::http
