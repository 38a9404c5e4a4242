#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lambdo::virtio {

/// The address of an Ethernet interface (IEEE 802, EUI-48).
struct MacAddress {
  static constexpr size_t kBytes = 6;

  std::array<uint8_t, kBytes> bytes{};

  /// The address of a machine with this identity: always the same for the same bytes, locally administered,
  /// unicast. 46 bits of a hash of the identity, so two machines have the same one only by a chance of
  /// 1 in 2^46.
  static MacAddress of_machine(std::span<const std::byte> identity);
  /// Six pairs of hexadecimal digits with colons between them; nullopt for anything else.
  static std::optional<MacAddress> parse(std::string_view text);

  /// As parse() reads it, in small letters.
  [[nodiscard]] std::string text() const;
  /// Of one interface, where others are of a group or of all.
  [[nodiscard]] bool is_unicast() const { return (bytes[0] & 1) == 0; }
  /// Given by an administrator, not by the interface's maker.
  [[nodiscard]] bool is_local() const { return (bytes[0] & 2) != 0; }
  friend bool operator==(const MacAddress&, const MacAddress&) = default;
};

}  // namespace lambdo::virtio
