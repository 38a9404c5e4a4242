#include "http/client/tls_context.h"

#include <mbedtls/ssl_ciphersuites.h>

#include <array>
#include <cstdlib>
#include <span>

#include "base/check.h"
#include "base/syscalls.h"

namespace lambdo::http {

namespace {

constexpr size_t kMaxBundleBytes = 16 << 20;

// Debian and Ubuntu, Fedora and its kin, Alpine.
constexpr std::array kSystemBundles = {"/etc/ssl/certs/ca-certificates.crt",
                                       "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};

// AES first: the processors that this runs on have instructions for it.
constexpr std::array kCiphers = {
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    0,
};

/// The kernel's generator itself: nothing to seed, nothing shared between threads.
int random_bytes(void*, unsigned char* to, size_t len_bytes) {
  const auto filled = sys::random_bytes(std::as_writable_bytes(std::span(to, len_bytes)));
  return filled ? 0 : MBEDTLS_ERR_SSL_NO_RNG;
}

std::string bundle_path(const std::string& configured) {
  if (!configured.empty()) return configured;
  const char* named = std::getenv("SSL_CERT_FILE");
  if (named != nullptr && *named != '\0') return named;
  for (const char* path : kSystemBundles) {
    if (sys::exists(path)) return path;
  }
  return "";
}

Result<> read_certificates(const std::string& path, mbedtls_x509_crt& into) {
  auto text = sys::read_file(path, kMaxBundleBytes);
  if (!text) {
    return std::unexpected(
        std::move(text)
            .error()
            .with_code(Code::tls_failed)
            .with_context(
                "trusted certificates, as the configuration, --ca-file or SSL_CERT_FILE names them"));
  }
  // A positive count is of certificates of kinds that mbedTLS does not know, among others that it does. The
  // terminating zero belongs to the text.
  if (mbedtls_x509_crt_parse(&into, reinterpret_cast<const unsigned char*>(text->c_str()), text->size() + 1) <
      0) {
    return fail(Code::tls_failed, path + " has no certificate in PEM format");
  }
  return {};
}

}  // namespace

TlsContext::TlsContext(reactor::Reactor& reactor, reactor::BlockingPool& pool, TrustedFiles files)
    : reactor_(&reactor), pool_(&pool), files_(std::move(files)), changed_(reactor) {
  mbedtls_x509_crt_init(&trusted_);
  mbedtls_ssl_config_init(&config_);
  CHECK(mbedtls_ssl_config_defaults(&config_, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) == 0);
  mbedtls_ssl_conf_min_version(&config_, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
  mbedtls_ssl_conf_ciphersuites(&config_, kCiphers.data());
  mbedtls_ssl_conf_cert_profile(&config_, &mbedtls_x509_crt_profile_next);
  mbedtls_ssl_conf_authmode(&config_, MBEDTLS_SSL_VERIFY_REQUIRED);
  mbedtls_ssl_conf_renegotiation(&config_, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
  mbedtls_ssl_conf_session_tickets(&config_, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
  mbedtls_ssl_conf_rng(&config_, random_bytes, nullptr);
  mbedtls_ssl_conf_ca_chain(&config_, &trusted_, nullptr);
}

TlsContext::~TlsContext() {
  mbedtls_ssl_config_free(&config_);
  mbedtls_x509_crt_free(&trusted_);
}

Result<> TlsContext::read_files(mbedtls_x509_crt& into) const {
  const std::string bundle = bundle_path(files_.bundle);
  if (bundle.empty() && files_.extra_files.empty()) {
    return fail(Code::tls_failed,
                "no trusted certificates on this machine; install the package ca-certificates, or set "
                "SSL_CERT_FILE");
  }
  if (!bundle.empty()) TRY(read_certificates(bundle, into));
  for (const std::string& path : files_.extra_files) TRY(read_certificates(path, into));
  return {};
}

reactor::Task<Result<>> TlsContext::load(reactor::CancelToken token) {
  while (loading_) CO_TRY(co_await changed_.wait(token));
  if (loaded_) co_return Result<>{};
  loading_ = true;
  Result<> read = co_await pool_->run([this] { return read_files(trusted_); });
  loading_ = false;
  loaded_ = read.has_value();
  if (!loaded_) {
    mbedtls_x509_crt_free(&trusted_);
    mbedtls_x509_crt_init(&trusted_);
  }
  changed_.notify_all();
  co_return read;
}

}  // namespace lambdo::http
