#pragma once

#include <mbedtls/x509_crt.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace lambdo::http {

/// Judges the certificate that a server shows for the host we wanted, beside what mbedTLS does: which knows
/// no addresses as names (2.28; RFC 5280, 4.2.1.6, iPAddress), takes the common name where there are no
/// others, and says of a failure only its kind.
class CertificateCheck {
 public:
  explicit CertificateCheck(std::string host);
  CertificateCheck(const CertificateCheck&) = delete;
  CertificateCheck& operator=(const CertificateCheck&) = delete;

  /// For mbedtls_ssl_set_verify(): called for every certificate of the chain, from whichever thread runs the
  /// handshake.
  static int verify(void* self, mbedtls_x509_crt* certificate, int depth, uint32_t* flags);

  /// What verification with these flags (mbedtls_ssl_get_verify_result()) found, with the remedy.
  [[nodiscard]] Error describe(uint32_t flags) const;

 private:
  [[nodiscard]] bool is_for_host(const mbedtls_x509_crt& certificate);

  std::string host_;
  std::vector<std::string> names_;  ///< that the server's certificate is for
  std::string issuer_;              ///< of the certificate that nobody trusted vouches for
  std::string expired_;             ///< which, and when
};

/// Whether a name of a certificate, perhaps "*.example.org", stands for the host (RFC 9525, 6.3).
bool name_matches(std::string_view pattern, std::string_view host);

}  // namespace lambdo::http
