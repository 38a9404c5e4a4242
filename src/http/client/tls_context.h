#pragma once

#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "reactor/blocking_pool.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::http {

struct TrustedFiles {
  std::string bundle;                    ///< empty: the file that SSL_CERT_FILE names, else the system's
  std::vector<std::string> extra_files;  ///< trusted too
};

/// What all TLS connections of a client share: TLS 1.2, forward-secret authenticated ciphers, and the trusted
/// certificates, which are read when they are first needed.
class TlsContext {
 public:
  /// Certificates are read, and handshakes computed, on the threads of `pool`.
  TlsContext(reactor::Reactor& reactor, reactor::BlockingPool& pool, TrustedFiles files);
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;
  ~TlsContext();

  /// Reads the certificates if that has not been done. Code::tls_failed names the file that is missing or no
  /// certificate, and the next call tries again.
  reactor::Task<Result<>> load(reactor::CancelToken token);
  [[nodiscard]] const mbedtls_ssl_config& config() const { return config_; }
  [[nodiscard]] reactor::BlockingPool& pool() { return *pool_; }
  [[nodiscard]] reactor::Reactor& reactor() { return *reactor_; }

 private:
  [[nodiscard]] Result<> read_files(mbedtls_x509_crt& into) const;

  reactor::Reactor* reactor_;
  reactor::BlockingPool* pool_;
  TrustedFiles files_;
  mbedtls_ssl_config config_;
  mbedtls_x509_crt trusted_;
  reactor::Event changed_;
  bool loading_ = false;
  bool loaded_ = false;
};

}  // namespace lambdo::http
