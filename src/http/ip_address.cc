#include "http/ip_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

namespace lambdo::http {

namespace {

constexpr size_t kV4Bytes = 4;

struct V4Block {
  std::array<uint8_t, 4> network;
  unsigned prefix_bits;
};

struct V6Block {
  std::array<uint8_t, 16> network;
  unsigned prefix_bits;
};

// The IANA special-purpose registries (RFC 6890 and its updates), multicast, and what is reserved.
constexpr std::array kPrivateV4 = {
    V4Block{{0, 0, 0, 0}, 8},     V4Block{{10, 0, 0, 0}, 8},      V4Block{{100, 64, 0, 0}, 10},
    V4Block{{127, 0, 0, 0}, 8},   V4Block{{169, 254, 0, 0}, 16},  V4Block{{172, 16, 0, 0}, 12},
    V4Block{{192, 0, 0, 0}, 24},  V4Block{{192, 0, 2, 0}, 24},    V4Block{{192, 168, 0, 0}, 16},
    V4Block{{198, 18, 0, 0}, 15}, V4Block{{198, 51, 100, 0}, 24}, V4Block{{203, 0, 113, 0}, 24},
    V4Block{{224, 0, 0, 0}, 4},   V4Block{{240, 0, 0, 0}, 4},
};

// Everything outside of global unicast (2000::/3) is private as well; these are the exceptions within it.
constexpr std::array kPrivateV6 = {
    V6Block{{0x20, 0x01, 0x00}, 23},        // protocol assignments, Teredo and ORCHID
    V6Block{{0x20, 0x01, 0x0d, 0xb8}, 32},  // documentation
    V6Block{{0x3f, 0xff}, 20},              // documentation
};

constexpr V6Block kGlobalUnicast = {{0x20}, 3};
constexpr V6Block kMapped = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96};
constexpr V6Block kCompatible = {{}, 96};
constexpr V6Block kNat64 = {{0x00, 0x64, 0xff, 0x9b}, 96};
constexpr V6Block k6to4 = {{0x20, 0x02}, 16};

bool is_in(const IpAddress& address, const V6Block& block) {
  return address.is_in(IpAddress::v6(block.network), block.prefix_bits);
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(const std::string& text) {
  IpAddress address;
  if (text.contains('\0')) return std::nullopt;
  if (::inet_pton(AF_INET, text.c_str(), address.bytes_.data()) == 1) return address;
  address.is_v4_ = false;
  if (::inet_pton(AF_INET6, text.c_str(), address.bytes_.data()) == 1) return address;
  return std::nullopt;
}

IpAddress IpAddress::v4(const std::array<uint8_t, 4>& bytes) {
  IpAddress address;
  std::ranges::copy(bytes, address.bytes_.begin());
  return address;
}

IpAddress IpAddress::v6(const std::array<uint8_t, 16>& bytes) {
  IpAddress address;
  address.bytes_ = bytes;
  address.is_v4_ = false;
  return address;
}

std::string_view IpAddress::bytes() const {
  return {reinterpret_cast<const char*>(bytes_.data()), is_v4_ ? kV4Bytes : bytes_.size()};
}

std::string IpAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  ::inet_ntop(is_v4_ ? AF_INET : AF_INET6, bytes_.data(), buffer.data(), buffer.size());
  return buffer.data();
}

bool IpAddress::is_in(const IpAddress& network, unsigned prefix_bits) const {
  if (network.is_v4_ != is_v4_ || prefix_bits > bytes().size() * 8) return false;
  const size_t whole = prefix_bits / 8;
  if (!std::equal(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(whole), network.bytes_.begin()))
    return false;
  const unsigned rest = prefix_bits % 8;
  return rest == 0 || (bytes_[whole] ^ network.bytes_[whole]) >> (8 - rest) == 0;
}

std::optional<IpAddress> IpAddress::embedded_v4() const {
  const IpAddress& self = *this;
  size_t offset = 0;
  if (http::is_in(self, kMapped) || http::is_in(self, kNat64) || http::is_in(self, kCompatible)) {
    offset = 12;
  } else if (http::is_in(self, k6to4)) {
    offset = 2;
  } else {
    return std::nullopt;
  }
  return v4({bytes_[offset], bytes_[offset + 1], bytes_[offset + 2], bytes_[offset + 3]});
}

bool IpAddress::is_private() const {
  if (is_v4_) {
    return std::ranges::any_of(
        kPrivateV4, [this](const V4Block& block) { return is_in(v4(block.network), block.prefix_bits); });
  }
  // ::1 lies in the block of the IPv4-compatible addresses, and 0.0.0.1 is private too.
  if (const auto inner = embedded_v4()) return inner->is_private();
  if (!http::is_in(*this, kGlobalUnicast)) return true;
  return std::ranges::any_of(kPrivateV6, [this](const V6Block& block) { return http::is_in(*this, block); });
}

bool IpAddress::is_loopback() const {
  if (is_v4_) return bytes_[0] == 127;
  if (http::is_in(*this, kMapped)) return bytes_[12] == 127;
  return *this == v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

}  // namespace lambdo::http
