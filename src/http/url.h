#pragma once

#include <cstdint>
#include <expected>
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
  /// The same with nothing but the reason, for texts that no message may show.
  static std::expected<Url, std::string_view> parse_or_reason(std::string_view text);
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

/// A URL as a message may show it, whatever is wrong with it: "***" is where a user name and password may be,
/// which is all from the scheme to the last "@".
std::string without_user_info(std::string_view text);

}  // namespace lambdo::http
