#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lambdo {

/// The address of an Ethernet interface (IEEE 802, EUI-48).
struct MacAddress {
  static constexpr size_t kBytes = 6;

  std::array<uint8_t, kBytes> bytes{};

  /// Six pairs of hexadecimal digits with colons between them; Code::invalid_argument for anything else.
  static Result<MacAddress> parse(std::string_view text);

  /// As parse() reads it, in small letters: 02:1a:00:ff:00:01.
  [[nodiscard]] std::string text() const;
  /// Of one interface, where others are of a group or of all.
  [[nodiscard]] bool is_unicast() const { return (bytes[0] & 1) == 0; }
  auto operator<=>(const MacAddress&) const = default;
};

}  // namespace lambdo
