#include "virtio_net/frame.h"

#include <optional>
#include <string>

namespace lambdo::virtio_net {

namespace {

constexpr uint16_t kEtherIp4 = 0x0800;
constexpr uint16_t kEtherIp6 = 0x86dd;
constexpr uint16_t kEtherVlan = 0x8100;
constexpr uint16_t kEtherProviderVlan = 0x88a8;
constexpr size_t kEtherTypeOffset = 12;

constexpr size_t kIp4MinBytes = 20;
constexpr size_t kIp4FragmentOffset = 6;
constexpr uint16_t kIp4FragmentMask = 0x3fff;  // more fragments, and where this one belongs
constexpr size_t kIp4ProtocolOffset = 9;
constexpr size_t kIp6Bytes = 40;
constexpr size_t kIp6NextHeaderOffset = 6;

constexpr uint8_t kProtocolTcp = 6;
constexpr size_t kTcpMinBytes = 20;
constexpr size_t kTcpDataOffset = 12;
constexpr uint16_t kTcpChecksumOffset = 16;
constexpr uint8_t kProtocolUdp = 17;
constexpr uint16_t kUdpChecksumOffset = 6;

struct Dependency {
  uint64_t feature;
  uint64_t needs_one_of;
  const char* name;
};
constexpr Dependency kDependencies[] = {
    {feature::kGuestTso4, feature::kGuestCsum, "VIRTIO_NET_F_GUEST_TSO4"},
    {feature::kGuestTso6, feature::kGuestCsum, "VIRTIO_NET_F_GUEST_TSO6"},
    {feature::kGuestEcn, feature::kGuestTso4 | feature::kGuestTso6, "VIRTIO_NET_F_GUEST_ECN"},
    {feature::kHostTso4, feature::kCsum, "VIRTIO_NET_F_HOST_TSO4"},
    {feature::kHostTso6, feature::kCsum, "VIRTIO_NET_F_HOST_TSO6"},
    {feature::kHostEcn, feature::kHostTso4 | feature::kHostTso6, "VIRTIO_NET_F_HOST_ECN"},
};

/// Reads the start of a frame; what is not there is no value.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  [[nodiscard]] std::optional<uint8_t> byte(size_t offset) const {
    if (offset >= bytes_.size()) return std::nullopt;
    return static_cast<uint8_t>(bytes_[offset]);
  }
  /// Big endian.
  [[nodiscard]] std::optional<uint16_t> word(size_t offset) const {
    const auto low = byte(offset + 1);
    if (!low) return std::nullopt;
    return static_cast<uint16_t>(*byte(offset) << 8 | *low);
  }

 private:
  std::span<const std::byte> bytes_;
};

/// What stands between the addresses and the packet.
struct LinkLayer {
  size_t len_bytes;
  std::optional<uint16_t> ether_type;
};

LinkLayer read_link_layer(const Reader& frame) {
  const auto outer = frame.word(kEtherTypeOffset);
  if (outer != kEtherVlan && outer != kEtherProviderVlan) return {kEthernetBytes, outer};
  return {kEthernetBytes + kVlanTagBytes, frame.word(kEtherTypeOffset + kVlanTagBytes)};
}

/// Whether `header` is one of IPv6's that only go before another one, with their length in their second byte.
bool is_extension(uint8_t header) {
  constexpr uint8_t kHopByHop = 0;
  constexpr uint8_t kRouting = 43;
  constexpr uint8_t kDestination = 60;
  return header == kHopByHop || header == kRouting || header == kDestination;
}

/// What an IP packet carries, and where that starts in the frame.
struct Transport {
  uint8_t protocol;
  size_t offset;
};

std::optional<Transport> find_ip4_transport(const Reader& frame, size_t ip) {
  const auto version = frame.byte(ip);
  const auto fragment = frame.word(ip + kIp4FragmentOffset);
  const auto protocol = frame.byte(ip + kIp4ProtocolOffset);
  if (!version || !fragment || !protocol) return std::nullopt;
  const size_t ip_bytes = (*version & 15) * size_t{4};
  // A fragment has no such header, or not all that it is the checksum of.
  if (*version >> 4 != 4 || ip_bytes < kIp4MinBytes || (*fragment & kIp4FragmentMask) != 0) {
    return std::nullopt;
  }
  return Transport{*protocol, ip + ip_bytes};
}

std::optional<Transport> find_ip6_transport(const Reader& frame, size_t ip) {
  const auto version = frame.byte(ip);
  if (!version || *version >> 4 != 6) return std::nullopt;
  auto next = frame.byte(ip + kIp6NextHeaderOffset);
  size_t at = ip + kIp6Bytes;
  // Ends with the bytes that are there: each is at least 8 long.
  while (next && is_extension(*next)) {
    const auto units = frame.byte(at + 1);
    if (!units) return std::nullopt;
    next = frame.byte(at);
    at += (*units + size_t{1}) * 8;
  }
  if (!next) return std::nullopt;
  return Transport{*next, at};
}

std::optional<Transport> find_transport(const Reader& frame, const LinkLayer& link) {
  if (link.ether_type == kEtherIp4) return find_ip4_transport(frame, link.len_bytes);
  if (link.ether_type == kEtherIp6) return find_ip6_transport(frame, link.len_bytes);
  return std::nullopt;
}

/// Whether the kernel would write into the checksum field of a TCP or UDP header, and nowhere else. It writes
/// when the packet leaves the host, after every rule of the firewall has judged it: a port or an address in
/// that place would be another one than they saw. Linux leaves no other checksum to a virtio device, except
/// those within tunnels.
bool is_checksum_field(const Header& header, const Reader& frame, const LinkLayer& link) {
  const auto transport = find_transport(frame, link);
  if (!transport || transport->offset != header.csum_start) return false;
  switch (transport->protocol) {
    case kProtocolTcp:
      return header.csum_offset == kTcpChecksumOffset;
    case kProtocolUdp:
      return header.csum_offset == kUdpChecksumOffset;
    default:
      return false;
  }
}

bool may_segment(uint8_t gso_type, uint64_t features) {
  if ((gso_type & Header::kGsoEcn) != 0 && (features & feature::kHostEcn) == 0) return false;
  switch (gso_type & ~Header::kGsoEcn) {
    case Header::kGsoTcp4:
      return (features & feature::kHostTso4) != 0;
    case Header::kGsoTcp6:
      return (features & feature::kHostTso6) != 0;
    default:
      return false;
  }
}

/// A frame to be segmented, whose checksum field is checked and in `clean` already.
std::expected<Transmittable, Drop> check_segmented(const Header& header, Header clean,
                                                   const FrameStart& start, const LinkLayer& link,
                                                   uint64_t features, uint16_t mtu) {
  const auto bad = std::unexpected(Drop::bad_offload);
  // 5.1.6.2.1: segments need their checksums computed.
  if (!may_segment(header.gso_type, features) || clean.flags != Header::kNeedsCsum || header.gso_size == 0)
    return bad;
  const bool is_ip4 = (header.gso_type & ~Header::kGsoEcn) == Header::kGsoTcp4;
  const size_t tcp = header.csum_start;
  const auto data_offset = Reader(start.bytes).byte(tcp + kTcpDataOffset);
  if (link.ether_type != (is_ip4 ? kEtherIp4 : kEtherIp6) || header.csum_offset != kTcpChecksumOffset ||
      !data_offset) {
    return bad;
  }
  const size_t tcp_bytes = (*data_offset >> 4) * size_t{4};
  const size_t headers_bytes = tcp + tcp_bytes;
  if (tcp_bytes < kTcpMinBytes || headers_bytes > start.frame_bytes) return bad;
  if (start.frame_bytes > kMaxFrameBytes || headers_bytes - link.len_bytes + header.gso_size > mtu) {
    return std::unexpected(Drop::too_long);
  }
  const uint64_t payload_bytes = start.frame_bytes - headers_bytes;
  const uint64_t segments = (payload_bytes + header.gso_size - 1) / header.gso_size;
  if (segments > kMaxSegments) return bad;
  clean.gso_type = header.gso_type;
  clean.gso_size = header.gso_size;
  // The guest's own hdr_len is no more than a hint (5.1.6.2.2); this one is right.
  clean.hdr_len = static_cast<uint16_t>(headers_bytes);
  return Transmittable{clean, static_cast<uint32_t>(segments > 0 ? segments : 1)};
}

}  // namespace

Result<> check_features(uint64_t features) {
  for (const Dependency& dependency : kDependencies) {
    if ((features & dependency.feature) == 0 || (features & dependency.needs_one_of) != 0) continue;
    return fail(Code::invalid_argument, std::string(dependency.name) + " without what it needs");
  }
  return {};
}

std::expected<Transmittable, Drop> check_transmit(const Header& header, const FrameStart& start,
                                                  uint64_t features, uint16_t mtu) {
  const Reader frame(start.bytes);
  const LinkLayer link = read_link_layer(frame);
  Header clean{};
  // 5.1.6.2.2: flags that mean nothing here are ignored; 5.1.6.2.1 forbids the driver the known ones.
  if ((header.flags & Header::kNeedsCsum) != 0) {
    const size_t end = size_t{header.csum_start} + header.csum_offset + sizeof(uint16_t);
    if ((features & feature::kCsum) == 0 || end > start.frame_bytes ||
        !is_checksum_field(header, frame, link)) {
      return std::unexpected(Drop::bad_offload);
    }
    clean.flags = Header::kNeedsCsum;
    clean.csum_start = header.csum_start;
    clean.csum_offset = header.csum_offset;
  }
  if (header.hdr_len > start.frame_bytes) return std::unexpected(Drop::bad_offload);
  if (header.gso_type != Header::kGsoNone) return check_segmented(header, clean, start, link, features, mtu);
  if (start.frame_bytes > mtu + link.len_bytes) return std::unexpected(Drop::too_long);
  return Transmittable{clean, 1};
}

std::expected<Header, Drop> check_receive(const Header& header, uint64_t frame_bytes, uint64_t features,
                                          uint16_t mtu) {
  Header clean = header;
  clean.num_buffers = 0;
  clean.flags &= Header::kNeedsCsum | Header::kDataValid;
  if ((features & feature::kGuestCsum) == 0) {
    if ((clean.flags & Header::kNeedsCsum) != 0) return std::unexpected(Drop::bad_offload);
    clean.flags = 0;
  }
  if (header.gso_type == Header::kGsoNone) {
    // 5.1.4.1: the MTU holds for what is not segmented.
    if (frame_bytes > max_plain_bytes(mtu)) return std::unexpected(Drop::too_long);
    return clean;
  }
  uint64_t needed = 0;
  switch (header.gso_type & ~Header::kGsoEcn) {
    case Header::kGsoTcp4:
      needed = feature::kGuestTso4;
      break;
    case Header::kGsoTcp6:
      needed = feature::kGuestTso6;
      break;
    default:
      return std::unexpected(Drop::bad_offload);
  }
  if ((header.gso_type & Header::kGsoEcn) != 0) needed |= feature::kGuestEcn;
  if ((features & needed) != needed) return std::unexpected(Drop::bad_offload);
  return clean;
}

}  // namespace lambdo::virtio_net
