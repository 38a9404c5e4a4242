#include "virtio/mac_address.h"

#include <algorithm>
#include <charconv>

#include "base/sha256.h"

namespace lambdo::virtio {

static constexpr size_t kTextBytes = 3 * MacAddress::kBytes - 1;

MacAddress MacAddress::of_machine(std::span<const std::byte> identity) {
  const Sha256::Value hash = Sha256::of(identity);
  MacAddress address;
  std::ranges::transform(std::span(hash).first<kBytes>(), address.bytes.begin(),
                         [](std::byte byte) { return static_cast<uint8_t>(byte); });
  address.bytes[0] = static_cast<uint8_t>((address.bytes[0] | 2) & ~1);
  return address;
}

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
  if (text.size() != kTextBytes) return std::nullopt;
  MacAddress address;
  for (size_t i = 0; i < kBytes; ++i) {
    const char* pair = text.data() + 3 * i;
    if (i > 0 && pair[-1] != ':') return std::nullopt;
    // Two digits, neither less: from_chars takes one, too, and no sign or space for an unsigned number.
    const auto [end, error] = std::from_chars(pair, pair + 2, address.bytes[i], 16);
    if (error != std::errc() || end != pair + 2) return std::nullopt;
  }
  return address;
}

std::string MacAddress::text() const {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    if (!text.empty()) text += ':';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace lambdo::virtio
