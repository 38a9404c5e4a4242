#include "base/mac_address.h"

#include <charconv>

#include "base/text.h"

namespace lambdo {

static constexpr size_t kTextBytes = 3 * MacAddress::kBytes - 1;

Result<MacAddress> MacAddress::parse(std::string_view text) {
  MacAddress address;
  bool good = text.size() == kTextBytes;
  for (size_t i = 0; good && i < kBytes; ++i) {
    const char* pair = text.data() + 3 * i;
    // Two digits, neither less: from_chars takes one, too, and no sign or space for an unsigned number.
    const auto [end, error] = std::from_chars(pair, pair + 2, address.bytes[i], 16);
    good = error == std::errc() && end == pair + 2 && (i == 0 || pair[-1] == ':');
  }
  if (!good) return fail(Code::invalid_argument, "'" + std::string(text) + "' is not an Ethernet address");
  return address;
}

std::string MacAddress::text() const {
  std::string text;
  for (const uint8_t byte : bytes) {
    if (!text.empty()) text += ':';
    text += kHexDigits[byte >> 4];
    text += kHexDigits[byte & 15];
  }
  return text;
}

}  // namespace lambdo
