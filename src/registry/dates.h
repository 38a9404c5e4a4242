#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lambdo::registry {

/// Seconds since 1970 of an HTTP date, "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7, without the
/// obsolete forms).
std::optional<int64_t> parse_http_date(std::string_view text);

/// Seconds since 1970 of an Internet date, "2016-01-02T15:04:05.123Z" or with an offset (RFC 3339, 5.6); its
/// fraction is dropped.
std::optional<int64_t> parse_internet_date(std::string_view text);

}  // namespace lambdo::registry
