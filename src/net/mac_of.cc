#include "net/mac_of.h"

#include <cstddef>
#include <span>
#include <string>

#include "base/sha256.h"
#include "base/syscalls.h"

namespace lambdo::net {

static MacAddress made_local(MacAddress mac) {
  mac.bytes[0] = static_cast<uint8_t>((mac.bytes[0] & 0xfc) | 0x02);
  return mac;
}

MacAddress mac_of(std::string_view identity, uint32_t attempt) {
  const std::string text = std::to_string(attempt) + " " + std::string(identity);
  const Sha256::Value hash = Sha256::of(std::as_bytes(std::span(text)));
  MacAddress mac;
  for (size_t i = 0; i < mac.bytes.size(); ++i) mac.bytes[i] = static_cast<uint8_t>(hash[i]);
  return made_local(mac);
}

Result<MacAddress> random_mac() {
  MacAddress mac;
  TRY(sys::random_bytes(std::as_writable_bytes(std::span(mac.bytes))));
  return made_local(mac);
}

}  // namespace lambdo::net
