#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lambdo::http {

struct Url {
  std::string scheme;  ///< "http" or "https", in lower case
  std::string host;    ///< without the brackets of an IPv6 address
  uint16_t port = 0;   ///< 80 or 443 where the URL names none
  std::string target;  ///< path and query as they are sent; "/" where there is none

  /// Code::invalid_argument says what is wrong with `text`; user names and fragments are refused.
  static Result<Url> parse(std::string_view text);
  /// What the Host header carries: the port only where it is not the scheme's own.
  [[nodiscard]] std::string authority() const;
  /// Scheme, authority and target.
  [[nodiscard]] std::string text() const;
  /// What a Location header with `reference` means here (RFC 3986, 5.2); its fragment is dropped.
  [[nodiscard]] Result<Url> resolve(std::string_view reference) const;
  /// Whether scheme, host and port are the same.
  [[nodiscard]] bool same_origin(const Url& other) const;

  bool operator==(const Url&) const = default;
};

}  // namespace lambdo::http
