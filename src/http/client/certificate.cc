#include "http/client/certificate.h"

#include <mbedtls/asn1.h>
#include <mbedtls/x509.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>

#include "base/ip.h"
#include "base/text.h"

namespace lambdo::http {

namespace {

constexpr size_t kMaxNames = 100;
constexpr size_t kMaxNamesShown = 5;

std::string distinguished_name(const mbedtls_x509_name& name) {
  std::array<char, 512> buffer{};
  const int len = mbedtls_x509_dn_gets(buffer.data(), buffer.size(), &name);
  return len > 0 ? std::string(buffer.data(), static_cast<size_t>(len)) : "(a name that cannot be shown)";
}

std::string date(const mbedtls_x509_time& time) {
  std::array<char, 40> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%04d-%02d-%02d %02d:%02d UTC", time.year, time.mon, time.day,
                time.hour, time.min);
  return buffer.data();
}

/// For a message: what a stranger wrote, without control characters.
std::string printable(std::string text) {
  std::ranges::replace_if(text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

}  // namespace

bool name_matches(std::string_view pattern, std::string_view host) {
  if (host.empty()) return false;
  if (!pattern.starts_with("*.")) return equals_ignoring_case(pattern, host);
  // The star stands for one whole label, and what it stands under must not be a top-level domain.
  const std::string_view parent = pattern.substr(1);
  const size_t dot = host.find('.');
  return dot != std::string_view::npos && dot > 0 && parent.find('.', 1) != std::string_view::npos &&
         equals_ignoring_case(host.substr(dot), parent);
}

CertificateCheck::CertificateCheck(std::string host) : host_(std::move(host)) {
  if (host_.ends_with('.')) host_.pop_back();
}

bool CertificateCheck::is_for_host(const mbedtls_x509_crt& certificate) {
  const auto address = IpAddress::parse(host_);
  bool matches = false;
  for (const mbedtls_x509_sequence* name = &certificate.subject_alt_names;
       name != nullptr && names_.size() < kMaxNames; name = name->next) {
    if (name->buf.p == nullptr) continue;
    const std::string_view value(reinterpret_cast<const char*>(name->buf.p), name->buf.len);
    switch (static_cast<unsigned>(name->buf.tag) & MBEDTLS_ASN1_TAG_VALUE_MASK) {
      case MBEDTLS_X509_SAN_DNS_NAME:
        names_.push_back(printable(std::string(value)));
        matches |= !address && name_matches(value, host_);
        break;
      case MBEDTLS_X509_SAN_IP_ADDRESS:
        if (const auto named = IpAddress::from_bytes(value)) {
          names_.push_back(named->text());
          matches |= address && *address == *named;
        }
        break;
      default:
        break;
    }
  }
  return matches;
}

int CertificateCheck::verify(void* self, mbedtls_x509_crt* certificate, int depth, uint32_t* flags) {
  auto& check = *static_cast<CertificateCheck*>(self);
  if (depth == 0 && !check.is_for_host(*certificate)) *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
  if ((*flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0) {
    check.issuer_ = printable(distinguished_name(certificate->issuer));
  }
  const std::string whose = depth == 0 ? "the certificate"
                                       : "the authority's certificate (" +
                                             printable(distinguished_name(certificate->subject)) + ")";
  if ((*flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0) {
    check.expired_ = whose + " expired on " + date(certificate->valid_to);
  } else if ((*flags & MBEDTLS_X509_BADCERT_FUTURE) != 0) {
    check.expired_ = whose + " is valid only from " + date(certificate->valid_from);
  }
  return 0;
}

Error CertificateCheck::describe(uint32_t flags) const {
  std::string why;
  const auto add = [&why](const std::string& reason) { why += (why.empty() ? "" : "; ") + reason; };
  if ((flags & (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE)) != 0) {
    add(expired_ + "; check this machine's clock, or have the server's operator renew it");
  }
  if ((flags & MBEDTLS_X509_BADCERT_CN_MISMATCH) != 0) {
    std::string list;
    for (size_t i = 0; i < names_.size() && i < kMaxNamesShown; ++i) list += (i == 0 ? "" : ", ") + names_[i];
    if (names_.size() > kMaxNamesShown) list += " and more";
    add(names_.empty() ? "the certificate names no host"
                       : "the certificate is for " + list + ", not for " + host_);
  }
  if ((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0) {
    add("its issuer (" + issuer_ +
        ") is not trusted; if it should be, put its certificate into a PEM file and name that as an extra CA "
        "file, or in SSL_CERT_FILE");
  }
  constexpr uint32_t kTold = MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE |
                             MBEDTLS_X509_BADCERT_CN_MISMATCH | MBEDTLS_X509_BADCERT_NOT_TRUSTED;
  if ((flags & ~kTold) != 0) {
    std::array<char, 512> buffer{};
    mbedtls_x509_crt_verify_info(buffer.data(), buffer.size(), "", flags & ~kTold);
    std::string text = buffer.data();
    while (text.ends_with('\n')) text.pop_back();
    std::ranges::replace(text, '\n', ' ');
    add(text);
  }
  return {Code::tls_failed, 0, host_ + ": " + (why.empty() ? "the certificate was not accepted" : why)};
}

}  // namespace lambdo::http
