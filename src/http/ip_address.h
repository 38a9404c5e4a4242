#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lambdo::http {

/// An IPv4 or IPv6 address, without port or zone.
class IpAddress {
 public:
  /// nullopt where `text` is not exactly one address: four decimal numbers with dots, or RFC 4291, 2.2.
  static std::optional<IpAddress> parse(const std::string& text);
  /// From bytes in network order.
  static IpAddress v4(const std::array<uint8_t, 4>& bytes);
  static IpAddress v6(const std::array<uint8_t, 16>& bytes);

  [[nodiscard]] bool is_v4() const { return is_v4_; }
  /// 4 or 16 bytes in network order.
  [[nodiscard]] std::string_view bytes() const;
  [[nodiscard]] std::string text() const;
  /// Whether it is a host's own, or of its networks: loopback, private (RFC 1918, RFC 4193), link-local,
  /// shared (RFC 6598), unspecified, multicast and the other ranges that the Internet does not route (RFC
  /// 6890). IPv6 addresses that stand for an IPv4 address are judged by it.
  [[nodiscard]] bool is_private() const;
  [[nodiscard]] bool is_loopback() const;
  /// Whether the first `prefix_bits` are those of `network`. Never across families.
  [[nodiscard]] bool is_in(const IpAddress& network, unsigned prefix_bits) const;

  bool operator==(const IpAddress&) const = default;

 private:
  [[nodiscard]] std::optional<IpAddress> embedded_v4() const;

  std::array<uint8_t, 16> bytes_{};
  bool is_v4_ = true;
};

}  // namespace lambdo::http
