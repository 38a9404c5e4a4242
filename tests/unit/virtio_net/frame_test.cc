// What the two headers of a frame may say, field by field.

#include "virtio_net/frame.h"

#include <string_view>

#include "guest.h"

#include "test.h"

namespace lambdo::virtio_net::testing {

namespace {

constexpr uint16_t kMtu = 1500;

std::expected<Transmittable, Drop> check(const Header& header, const Bytes& frame,
                                         uint64_t features = feature::kOffloads) {
  const auto start = std::span(frame).first(std::min(frame.size(), FrameStart::kMaxBytes));
  return check_transmit(header, {start, frame.size()}, features, kMtu);
}

struct SegmentedRow {
  const char* what;
  void (*change)(Header&, Bytes&);
  std::optional<Drop> drop;
};

constexpr SegmentedRow kSegmentedRows[] = {
    {"as it should be", [](Header&, Bytes&) {}, {}},
    {"unknown flags", [](Header& header, Bytes&) { header.flags |= 0xfe; }, {}},
    {"a wrong hdr_len", [](Header& header, Bytes&) { header.hdr_len = 1; }, {}},
    {"buffers counted", [](Header& header, Bytes&) { header.num_buffers = 0xffff; }, {}},
    {"ECN", [](Header& header, Bytes&) { header.gso_type |= Header::kGsoEcn; }, {}},
    {"hdr_len beyond the frame", [](Header& header, Bytes&) { header.hdr_len = 0xffff; }, Drop::bad_offload},
    {"no checksum", [](Header& header, Bytes&) { header.flags = 0; }, Drop::bad_offload},
    {"another checksum", [](Header& header, Bytes&) { header.csum_offset = 6; }, Drop::bad_offload},
    {"checksum in the IP header", [](Header& header, Bytes&) { header.csum_start -= 4; }, Drop::bad_offload},
    {"checksum in the payload", [](Header& header, Bytes&) { header.csum_start += 20; }, Drop::bad_offload},
    {"checksum beyond what is looked at", [](Header& header, Bytes&) { header.csum_start = 250; },
     Drop::bad_offload},
    {"segments of nothing", [](Header& header, Bytes&) { header.gso_size = 0; }, Drop::bad_offload},
    {"segments of a byte", [](Header& header, Bytes&) { header.gso_size = 1; }, Drop::bad_offload},
    {"segments beyond the MTU", [](Header& header, Bytes&) { header.gso_size = 1461; }, Drop::too_long},
    {"UDP segments", [](Header& header, Bytes&) { header.gso_type = 3; }, Drop::bad_offload},
    {"UDP L4 segments", [](Header& header, Bytes&) { header.gso_type = 5; }, Drop::bad_offload},
    {"unknown segments", [](Header& header, Bytes&) { header.gso_type = 0x7f; }, Drop::bad_offload},
    {"ECN alone", [](Header& header, Bytes&) { header.gso_type = Header::kGsoEcn; }, Drop::bad_offload},
    {"another protocol", [](Header&, Bytes& frame) { frame[13] = std::byte{1}; }, Drop::bad_offload},
    {"another IP version", [](Header&, Bytes& frame) { frame[14] ^= std::byte{0xf0}; }, Drop::bad_offload},
    {"no TCP",
     [](Header& header, Bytes& frame) {
       frame[header.gso_type == Header::kGsoTcp4 ? 23 : 20] = std::byte{17};
     },
     Drop::bad_offload},
    {"a short TCP header",
     [](Header& header, Bytes& frame) { frame[header.csum_start + 12U] = std::byte{0x40}; },
     Drop::bad_offload},
    {"a cut TCP header", [](Header& header, Bytes& frame) { frame.resize(header.csum_start + 18U); },
     Drop::bad_offload},
    {"longer than IP can be", [](Header&, Bytes& frame) { frame.resize(kMaxFrameBytes + 1); },
     Drop::too_long},
};

}  // namespace

TEST_CASE("every field of a segmented frame's header can be wrong, over IPv4 and IPv6") {
  for (const bool is_ip6 : {false, true}) {
    for (const SegmentedRow& row : kSegmentedRows) {
      CAPTURE(is_ip6);
      CAPTURE(row.what);
      Header header = tcp_header(is_ip6, 1440);
      Bytes frame = tcp_frame(is_ip6, 4000);
      row.change(header, frame);
      const auto checked = check(header, frame);
      REQUIRE_EQ(checked.has_value(), !row.drop.has_value());
      if (!checked) {
        CHECK(checked.error() == *row.drop);
        continue;
      }
      CHECK_EQ(checked->segments, 3U);
      Header expected = tcp_header(is_ip6, 1440);
      expected.gso_type = header.gso_type;
      CHECK(checked->header == expected);
    }
  }
}

TEST_CASE("IP options, extension headers and a VLAN tag lie between Ethernet and TCP") {
  Bytes tagged = tcp_frame(false, 4000);
  tagged[12] = std::byte{0x81};
  tagged[13] = std::byte{0x00};
  const std::array<std::byte, 4> rest = {std::byte{0}, std::byte{7}, std::byte{0x08}, std::byte{0}};
  tagged.insert(tagged.begin() + 14, rest.begin(), rest.end());
  Header header = tcp_header(false, 1400);
  CHECK_FALSE(check(header, tagged).has_value());
  header.csum_start += 4;
  header.hdr_len += 4;
  CHECK(check(header, tagged).value().header == header);

  Bytes options = tcp_frame(false, 4000);
  options[14] = std::byte{0x46};
  options.insert(options.begin() + 34, 4, std::byte{1});
  CHECK(check(header, options).value().header.csum_start == 38);

  Bytes extension = tcp_frame(true, 4000);
  extension[20] = std::byte{0};  // hop-by-hop options
  extension.insert(extension.begin() + 54, 8, std::byte{0});
  extension[54] = std::byte{6};
  Header behind = tcp_header(true, 1400);
  CHECK_FALSE(check(behind, extension).has_value());
  behind.csum_start += 8;
  CHECK(check(behind, extension).value().header.hdr_len == 82);
  extension[54] = std::byte{0};  // one behind the other, to the end of what is looked at
  CHECK_FALSE(check(behind, extension).has_value());
  extension[54] = std::byte{44};  // a fragment
  CHECK_FALSE(check(behind, extension).has_value());
}

TEST_CASE("an offload that was not negotiated is dropped") {
  const struct {
    uint64_t missing;
    Header header;
    bool is_ip6;
  } rows[] = {
      {feature::kCsum, tcp_header(false, 1000), false},
      {feature::kHostTso4, tcp_header(false, 1000), false},
      {feature::kHostTso6, tcp_header(true, 1000), true},
  };
  for (const auto& row : rows) {
    CAPTURE(row.missing);
    const Bytes frame = tcp_frame(row.is_ip6, 2000);
    CHECK(check(row.header, frame).has_value());
    CHECK(check(row.header, frame, feature::kOffloads & ~row.missing).error() == Drop::bad_offload);
  }
  Header ecn = tcp_header(false, 1000);
  ecn.gso_type |= Header::kGsoEcn;
  CHECK(check(ecn, tcp_frame(false, 2000), feature::kOffloads & ~feature::kHostEcn).error() ==
        Drop::bad_offload);
  for (const bool is_ip6 : {false, true}) {
    const Header checksum = udp_header(is_ip6);
    CHECK(check(checksum, udp_frame(is_ip6, 60)).value().header == checksum);
    CHECK(check(checksum, udp_frame(is_ip6, 60), 0).error() == Drop::bad_offload);
  }
}

namespace {

constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;

/// A frame whose checksum is left to the kernel, as Linux sends it.
struct Unsummed {
  bool is_ip6;
  uint8_t protocol;
  Header header;
  Bytes frame;

  [[nodiscard]] size_t protocol_at() const { return kEthernetBytes + (is_ip6 ? 6 : 9); }
  [[nodiscard]] size_t ip_end() const { return kEthernetBytes + (is_ip6 ? 40 : 20); }

  void write(size_t at, std::initializer_list<uint8_t> values) {
    for (const uint8_t value : values) frame[at++] = std::byte{value};
  }
  /// Puts `bytes` zeros behind the IP header, and moves the checksum with the rest.
  void insert(size_t bytes) {
    frame.insert(frame.begin() + static_cast<std::ptrdiff_t>(ip_end()), bytes, std::byte{0});
    header.csum_start = static_cast<uint16_t>(header.csum_start + bytes);
  }
  void insert_extension(uint8_t type, size_t bytes) {
    insert(bytes);
    write(ip_end(), {std::to_integer<uint8_t>(frame[protocol_at()]), static_cast<uint8_t>(bytes / 8 - 1)});
    write(protocol_at(), {type});
  }
  void insert_tag(uint16_t type) {
    frame.insert(frame.begin() + 12, 4, std::byte{0});
    write(12, {static_cast<uint8_t>(type >> 8), static_cast<uint8_t>(type)});
    header.csum_start += 4;
  }
  void aim(size_t start, size_t offset) {
    header.csum_start = static_cast<uint16_t>(start);
    header.csum_offset = static_cast<uint16_t>(offset);
  }
};

Unsummed unsummed(bool is_ip6, uint8_t protocol) {
  if (protocol == kUdp) return {is_ip6, protocol, udp_header(is_ip6), udp_frame(is_ip6, 40)};
  Header header = tcp_header(is_ip6, 0);
  header.gso_type = Header::kGsoNone;
  header.hdr_len = 0;
  return {is_ip6, protocol, header, tcp_frame(is_ip6, 40)};
}

enum class Over { any, ip4, ip6 };

struct ChecksumRow {
  std::string_view what;
  Over over;
  bool is_good;
  void (*change)(Unsummed&);
};

constexpr ChecksumRow kChecksumRows[] = {
    {"as it should be", Over::any, true, [](Unsummed&) {}},
    {"behind a tag", Over::any, true, [](Unsummed& sent) { sent.insert_tag(0x8100); }},
    {"at the frame's end", Over::any, true,
     [](Unsummed& sent) { sent.frame.resize(size_t{sent.header.csum_start} + sent.header.csum_offset + 2); }},
    {"not to be fragmented", Over::ip4, true, [](Unsummed& sent) { sent.write(20, {0x40, 0}); }},
    {"behind IP options", Over::ip4, true,
     [](Unsummed& sent) {
       sent.insert(40);
       sent.write(14, {0x4f});
     }},
    {"behind extensions", Over::ip6, true,
     [](Unsummed& sent) {
       sent.insert_extension(60, 24);
       sent.insert_extension(43, 8);
       sent.insert_extension(0, 16);
     }},
    {"behind the longest extensions that are looked at", Over::ip6, true,
     [](Unsummed& sent) {
       sent.insert_extension(60, 8);
       sent.insert_extension(60, 200);
     }},

    {"a port", Over::any, false, [](Unsummed& sent) { sent.header.csum_offset = 2; }},
    {"the other port", Over::any, false, [](Unsummed& sent) { sent.header.csum_offset = 0; }},
    {"the other protocol's place", Over::any, false,
     [](Unsummed& sent) { sent.header.csum_offset = sent.protocol == kTcp ? 6 : 16; }},
    {"a word beside it", Over::any, false, [](Unsummed& sent) { sent.header.csum_offset += 2; }},
    {"a sum of less", Over::any, false,
     [](Unsummed& sent) {
       sent.aim(sent.header.csum_start + size_t{2}, sent.header.csum_offset - size_t{2});
     }},
    {"a sum of more", Over::any, false,
     [](Unsummed& sent) {
       sent.aim(sent.header.csum_start - size_t{2}, sent.header.csum_offset + size_t{2});
     }},
    {"the type", Over::any, false, [](Unsummed& sent) { sent.aim(12, 0); }},
    {"the IP header's start", Over::any, false, [](Unsummed& sent) { sent.aim(14, 0); }},
    {"the destination", Over::any, false, [](Unsummed& sent) { sent.aim(14, sent.is_ip6 ? 36 : 16); }},
    {"the destination, as TCP's", Over::ip6, false, [](Unsummed& sent) { sent.aim(34, 16); }},
    {"the payload", Over::any, false, [](Unsummed& sent) { sent.header.csum_start += 20; }},
    {"half beyond the frame", Over::any, false,
     [](Unsummed& sent) { sent.frame.resize(size_t{sent.header.csum_start} + sent.header.csum_offset + 1); }},
    {"beyond the frame", Over::any, false,
     [](Unsummed& sent) { sent.header.csum_start = static_cast<uint16_t>(sent.frame.size()); }},
    {"beyond all frames", Over::any, false, [](Unsummed& sent) { sent.aim(0xffff, 0xffff); }},
    {"no more than Ethernet", Over::any, false, [](Unsummed& sent) { sent.frame.resize(kEthernetBytes); }},
    {"ARP", Over::any, false, [](Unsummed& sent) { sent.write(12, {0x08, 0x06}); }},
    {"the other IP's type", Over::any, false,
     [](Unsummed& sent) {
       if (sent.is_ip6) {
         sent.write(12, {0x08, 0x00});
       } else {
         sent.write(12, {0x86, 0xdd});
       }
     }},
    {"the other IP's version", Over::any, false, [](Unsummed& sent) { sent.frame[14] ^= std::byte{0x20}; }},
    {"behind a tag that is not counted", Over::any, false,
     [](Unsummed& sent) {
       sent.insert_tag(0x8100);
       sent.header.csum_start -= 4;
     }},
    {"behind two tags", Over::any, false,
     [](Unsummed& sent) {
       sent.insert_tag(0x8100);
       sent.insert_tag(0x88a8);
     }},
    {"ICMP", Over::any, false, [](Unsummed& sent) { sent.write(sent.protocol_at(), {1}); }},
    {"ICMPv6", Over::any, false, [](Unsummed& sent) { sent.write(sent.protocol_at(), {58}); }},
    {"SCTP", Over::any, false, [](Unsummed& sent) { sent.write(sent.protocol_at(), {132}); }},
    {"UDP-Lite", Over::any, false, [](Unsummed& sent) { sent.write(sent.protocol_at(), {136}); }},
    {"within a tunnel", Over::any, false,
     [](Unsummed& sent) {
       sent.insert(20);
       sent.write(sent.protocol_at(), {4});
     }},
    {"a short IP header", Over::ip4, false,
     [](Unsummed& sent) {
       sent.write(14, {0x44});
       sent.header.csum_start -= 4;
     }},
    {"options that are not counted", Over::ip4, false, [](Unsummed& sent) { sent.write(14, {0x46}); }},
    {"a first fragment", Over::ip4, false, [](Unsummed& sent) { sent.write(20, {0x20, 0}); }},
    {"a last fragment", Over::ip4, false, [](Unsummed& sent) { sent.write(20, {0, 1}); }},
    {"a far fragment", Over::ip4, false, [](Unsummed& sent) { sent.write(20, {0x1f, 0}); }},
    {"a fragment", Over::ip6, false, [](Unsummed& sent) { sent.insert_extension(44, 8); }},
    {"authenticated", Over::ip6, false, [](Unsummed& sent) { sent.insert_extension(51, 8); }},
    {"nothing behind it", Over::ip6, false, [](Unsummed& sent) { sent.insert_extension(59, 8); }},
    {"within an extension", Over::ip6, false,
     [](Unsummed& sent) {
       sent.insert_extension(0, 32);
       sent.header.csum_start -= 24;
     }},
    {"behind extensions that are not looked at", Over::ip6, false,
     [](Unsummed& sent) {
       sent.insert_extension(60, 8);
       sent.insert_extension(60, 208);
     }},
};

void check_checksum(const ChecksumRow& row, bool is_ip6, uint8_t protocol) {
  if (row.over != Over::any && is_ip6 != (row.over == Over::ip6)) return;
  Unsummed sent = unsummed(is_ip6, protocol);
  row.change(sent);
  CAPTURE(is_ip6);
  CAPTURE(protocol);
  CAPTURE(row.what);
  const auto checked = check(sent.header, sent.frame);
  REQUIRE_EQ(checked.has_value(), row.is_good);
  if (checked) {
    CHECK(checked->header == sent.header);
  } else {
    CHECK(checked.error() == Drop::bad_offload);
  }
  // Without the flag the fields mean nothing, and nothing of them is passed on.
  sent.header.flags = 0xfe;
  CHECK(check(sent.header, sent.frame).value().header == Header{});
}

}  // namespace

TEST_CASE("the kernel writes a checksum where TCP and UDP have theirs, and nowhere else") {
  for (const ChecksumRow& row : kChecksumRows) {
    for (const bool is_ip6 : {false, true}) {
      for (const uint8_t protocol : {kTcp, kUdp}) check_checksum(row, is_ip6, protocol);
    }
  }
}

TEST_CASE("no other place in a frame is written to than its one checksum") {
  for (const bool is_ip6 : {false, true}) {
    for (const uint8_t protocol : {kTcp, kUdp}) {
      const Unsummed sent = unsummed(is_ip6, protocol);
      size_t good = 0;
      for (size_t start = 0; start <= sent.frame.size(); ++start) {
        for (size_t offset = 0; offset <= sent.frame.size(); ++offset) {
          Header header = sent.header;
          header.csum_start = static_cast<uint16_t>(start);
          header.csum_offset = static_cast<uint16_t>(offset);
          if (!check(header, sent.frame)) continue;
          CHECK(header == sent.header);
          ++good;
        }
      }
      CHECK_EQ(good, 1U);
    }
  }
}

TEST_CASE("a frame that is not segmented is as long as the MTU allows") {
  CHECK(check({}, guest_frame(kEthernetBytes)).has_value());
  CHECK(check({}, guest_frame(kMtu + kEthernetBytes)).has_value());
  CHECK(check({}, guest_frame(kMtu + kEthernetBytes + 1)).error() == Drop::too_long);
  const auto tagged = [](size_t len_bytes) {
    return ethernet_frame(kHostMac, kGuestMac, len_bytes, 0, 0x8100);
  };
  CHECK(check({}, tagged(kMtu + kEthernetBytes + kVlanTagBytes)).has_value());
  CHECK(check({}, tagged(kMtu + kEthernetBytes + kVlanTagBytes + 1)).error() == Drop::too_long);
  CHECK(check({.gso_size = 9, .csum_start = 9}, guest_frame(60)).value().header == Header{});
}

TEST_CASE("the guest gets no offload that it did not ask for") {
  const auto all = feature::kOffloads;
  const Header checksum = {.flags = Header::kNeedsCsum, .csum_start = 34, .csum_offset = 6};
  const Header valid = {.flags = Header::kDataValid};
  CHECK(check_receive(checksum, 60, all, kMtu) == checksum);
  CHECK(check_receive(checksum, 60, 0, kMtu).error() == Drop::bad_offload);
  CHECK(check_receive(valid, 60, all, kMtu) == valid);
  CHECK(check_receive(valid, 60, 0, kMtu) == Header{});
  CHECK(check_receive({.flags = 0xfc, .num_buffers = 9}, 60, all, kMtu) == Header{});

  const struct {
    uint8_t gso_type;
    uint64_t feature;
  } rows[] = {{Header::kGsoTcp4, feature::kGuestTso4},
              {Header::kGsoTcp6, feature::kGuestTso6},
              {Header::kGsoTcp4 | Header::kGsoEcn, feature::kGuestEcn}};
  for (const auto& row : rows) {
    CAPTURE(row.gso_type);
    Header header = tcp_header(false, 1000);
    header.gso_type = row.gso_type;
    CHECK(check_receive(header, 9000, all, kMtu) == header);
    CHECK(check_receive(header, 9000, all & ~row.feature, kMtu).error() == Drop::bad_offload);
  }
  for (const uint8_t gso_type : {uint8_t{3}, uint8_t{5}, Header::kGsoEcn, uint8_t{0xff}}) {
    CHECK(check_receive({.gso_type = gso_type}, 60, all, kMtu).error() == Drop::bad_offload);
  }
  CHECK(check_receive({}, max_plain_bytes(kMtu), all, kMtu).has_value());
  CHECK(check_receive({}, max_plain_bytes(kMtu) + 1, all, kMtu).error() == Drop::too_long);
}

TEST_CASE("features come with those that they need") {
  const struct {
    uint64_t features;
    bool is_good;
  } rows[] = {
      {0, true},
      {feature::kOffloads, true},
      {feature::kGuestTso4, false},
      {feature::kGuestTso6, false},
      {feature::kGuestTso4 | feature::kGuestCsum, true},
      {feature::kGuestEcn | feature::kGuestCsum, false},
      {feature::kGuestEcn | feature::kGuestCsum | feature::kGuestTso6, true},
      {feature::kHostTso4, false},
      {feature::kHostTso6, false},
      {feature::kHostTso4 | feature::kGuestCsum, false},
      {feature::kHostTso6 | feature::kCsum, true},
      {feature::kHostEcn | feature::kCsum, false},
      {feature::kHostEcn | feature::kCsum | feature::kHostTso4, true},
  };
  for (const auto& row : rows) {
    CAPTURE(row.features);
    CHECK_EQ(check_features(row.features).has_value(), row.is_good);
  }
}

}  // namespace lambdo::virtio_net::testing
