#include "net/helper_protocol.h"

#include <array>
#include <utility>

#include "net/link.h"

namespace lambdo::net {

using helper::malformed;
using helper::Message;

namespace {

// Of a policy: access, whether public only, how many destinations are allowed; then for each of them
// protocol, first and last port in one. Their networks come first among the texts behind the subject.
constexpr size_t kPolicyNumbers = 3;
constexpr size_t kAddressNumbers = 5;
// With IPv6: the port, the guest's address and the gateway's in texts, the gateway's Ethernet address last.
constexpr size_t kIpv6Texts = 3;
constexpr size_t kCounterNumbers = 6;
constexpr uint64_t kLastAccess = static_cast<uint64_t>(Policy::Access::full);
constexpr uint64_t kLastProtocol = static_cast<uint64_t>(Policy::Protocol::udp);
constexpr unsigned kPortBits = 16;

uint64_t service_of(const Policy::Destination& destination) {
  return static_cast<uint64_t>(destination.protocol) << (2 * kPortBits) |
         static_cast<uint64_t>(destination.first_port) << kPortBits | destination.last_port;
}

Result<Policy::Destination> destination_of(const std::string& to, uint64_t service) {
  const uint64_t protocol = service >> (2 * kPortBits);
  if (protocol > kLastProtocol) return malformed("protocol");
  return Policy::Destination{.to = TRY(IpSubnet::parse(to)),
                             .protocol = static_cast<Policy::Protocol>(protocol),
                             .first_port = static_cast<uint16_t>(service >> kPortBits),
                             .last_port = static_cast<uint16_t>(service)};
}

uint64_t number_of(const MacAddress& mac) {
  uint64_t number = 0;
  for (const uint8_t byte : mac.bytes) number = number << 8 | byte;
  return number;
}

MacAddress mac_of_number(uint64_t number) {
  MacAddress mac;
  for (size_t i = mac.bytes.size(); i-- > 0; number >>= 8) mac.bytes[i] = static_cast<uint8_t>(number);
  return mac;
}

}  // namespace

helper::Protocol helper_protocol() {
  constexpr auto kMostNumbers = static_cast<uint8_t>(kPolicyNumbers + Policy::kMaxDestinations);
  constexpr auto kMostTexts = static_cast<uint16_t>(1 + Policy::kMaxDestinations + Policy::kMaxDenied);
  // In the order of HelperKind.
  static constexpr std::array<helper::Shape, 7> kShapes = {{
      {0, kCounterNumbers, 0, kIpv6Texts},            // success
      helper::kFailureShape,                          // failure
      {kPolicyNumbers, kMostNumbers, 1, kMostTexts},  // attach
      {0, 0, 1, 1},                                   // detach
      {kPolicyNumbers, kMostNumbers, 1, kMostTexts},  // set_policy
      {0, 0, 1, 1},                                   // counters
      {0, 0, 0, 0},                                   // ready
  }};
  return kShapes;
}

Message encode_policy_request(uint8_t kind, std::string subject, const Policy& policy) {
  Message message{
      .kind = kind,
      .numbers = {static_cast<uint64_t>(policy.access), policy.public_only, policy.allowed.size()},
      .texts = {std::move(subject)}};
  for (const Policy::Destination& allowed : policy.allowed) {
    message.numbers.push_back(service_of(allowed));
    message.texts.push_back(allowed.to.text());
  }
  for (const IpSubnet& denied : policy.denied) message.texts.push_back(denied.text());
  return message;
}

Result<Policy> decode_policy(const Message& request) {
  const auto& [kind, number, numbers, texts] = request;
  Policy policy;
  if (numbers[0] > kLastAccess) return malformed("access");
  policy.access = static_cast<Policy::Access>(numbers[0]);
  policy.public_only = numbers[1] != 0;
  const uint64_t allowed = numbers[2];
  if (numbers.size() != kPolicyNumbers + allowed || texts.size() < 1 + allowed) {
    return malformed("count of destinations");
  }
  for (size_t i = 0; i < allowed; ++i) {
    policy.allowed.push_back(TRY(destination_of(texts[1 + i], numbers[kPolicyNumbers + i])));
  }
  for (size_t i = 1 + allowed; i < texts.size(); ++i) {
    policy.denied.push_back(TRY(IpSubnet::parse(texts[i])));
  }
  TRY(check_policy(policy));
  return policy;
}

Message encode_guest(const AttachedGuest& guest) {
  Message message{.kind = HelperKind::success,
                  .numbers = {guest.lease.address.value, number_of(guest.lease.mac), guest.gateway.value,
                              guest.prefix_len, guest.mtu},
                  .texts = {guest.port}};
  if (guest.ipv6) {
    message.texts.push_back(guest.ipv6->address.text());
    message.texts.push_back(guest.ipv6->gateway.text());
    message.numbers.push_back(number_of(guest.ipv6->gateway_mac));
  }
  return message;
}

Result<AttachedGuest> decode_guest(const Message& answer) {
  constexpr uint64_t kMaxPrefix = 32;
  const bool ipv6 = answer.texts.size() == kIpv6Texts;
  if (answer.numbers.size() != kAddressNumbers + (ipv6 ? 1 : 0) || (!ipv6 && answer.texts.size() != 1)) {
    return malformed("a guest");
  }
  TRY(check_link_name(answer.texts[0]));
  if (answer.numbers[3] > kMaxPrefix) return malformed("prefix length");
  AttachedGuest guest;
  guest.port = answer.texts[0];
  guest.lease = {{static_cast<uint32_t>(answer.numbers[0])}, mac_of_number(answer.numbers[1]), std::nullopt};
  guest.gateway = {static_cast<uint32_t>(answer.numbers[2])};
  guest.prefix_len = static_cast<uint8_t>(answer.numbers[3]);
  guest.mtu = static_cast<uint32_t>(answer.numbers[4]);
  if (!ipv6) return guest;
  guest.ipv6 = GuestIpv6{.address = TRY(Ipv6Subnet::parse(answer.texts[1])),
                         .gateway = TRY(Ipv6Address::parse(answer.texts[2])),
                         .gateway_mac = mac_of_number(answer.numbers[5])};
  guest.lease.ipv6 = guest.ipv6->address.address;
  return guest;
}

Message encode_counters(const TrafficCounters& counters) {
  return {.kind = HelperKind::success,
          .numbers = {counters.sent_packets, counters.sent_bytes, counters.received_packets,
                      counters.received_bytes, counters.spoofed_packets, counters.refused_packets}};
}

Result<TrafficCounters> decode_counters(const Message& answer) {
  if (answer.numbers.size() != kCounterNumbers || !answer.texts.empty()) return malformed("counters");
  const std::vector<uint64_t>& numbers = answer.numbers;
  return TrafficCounters{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]};
}

}  // namespace lambdo::net
