#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "../reactor/eventually.h"
#include "../virtio/driver.h"
#include "../virtio/loopback.h"
#include "base/check.h"
#include "base/syscalls.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"
#include "reactor/timer.h"
#include "virtio/mmio.h"
#include "virtio_net/device.h"

/// A guest's network driver, scripted, on top of the virtio driver.
namespace lambdo::virtio_net::testing {

using reactor::eventually;
using reactor::Reactor;
using reactor::Task;
using Bytes = std::vector<std::byte>;

inline constexpr MacAddress kGuestMac = {{0x02, 0x11, 0x22, 0x33, 0x44, 0x55}};
inline constexpr MacAddress kHostMac = {{0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee}};

/// An Ethernet frame of `len_bytes` in all, its payload numbered from `seed` on.
inline Bytes ethernet_frame(const MacAddress& to, const MacAddress& from, size_t len_bytes, uint8_t seed = 0,
                            uint16_t ether_type = 0x88b5) {
  Bytes frame(len_bytes);
  for (size_t i = 0; i < len_bytes; ++i) frame[i] = static_cast<std::byte>(i * 7 + seed);
  const auto put = [&frame](size_t at, uint8_t value) {
    if (at < frame.size()) frame[at] = static_cast<std::byte>(value);
  };
  for (size_t i = 0; i < MacAddress::kBytes; ++i) {
    put(i, to.bytes[i]);
    put(6 + i, from.bytes[i]);
  }
  put(12, static_cast<uint8_t>(ether_type >> 8));
  put(13, static_cast<uint8_t>(ether_type));
  return frame;
}
inline Bytes guest_frame(size_t len_bytes, uint8_t seed = 0) {
  return ethernet_frame(kHostMac, kGuestMac, len_bytes, seed);
}
inline Bytes host_frame(size_t len_bytes, uint8_t seed = 0) {
  return ethernet_frame(kGuestMac, kHostMac, len_bytes, seed);
}

/// A frame over IPv4 or IPv6: empty headers but for the versions and `protocol`, the one behind IP's of
/// `header_bytes`, then `payload_bytes`.
inline Bytes ip_frame(bool is_ip6, uint8_t protocol, size_t header_bytes, size_t payload_bytes) {
  const size_t headers_bytes = (is_ip6 ? 40 : 20) + header_bytes;
  Bytes frame =
      ethernet_frame(kHostMac, kGuestMac, 14 + headers_bytes + payload_bytes, 0, is_ip6 ? 0x86dd : 0x0800);
  std::fill_n(frame.begin() + 14, headers_bytes, std::byte{0});
  frame[14] = std::byte{static_cast<uint8_t>(is_ip6 ? 0x60 : 0x45)};
  frame[is_ip6 ? 14 + 6 : 14 + 9] = std::byte{protocol};
  return frame;
}

/// A frame of TCP over IPv4 or IPv6 with `payload_bytes`, and the header that asks for segments of
/// `gso_size`.
inline Bytes tcp_frame(bool is_ip6, size_t payload_bytes) {
  Bytes frame = ip_frame(is_ip6, 6, 20, payload_bytes);
  frame[14 + (is_ip6 ? 40 : 20) + 12] = std::byte{0x50};
  return frame;
}
inline Header tcp_header(bool is_ip6, uint16_t gso_size) {
  const auto tcp = static_cast<uint16_t>(is_ip6 ? 54 : 34);
  return {.flags = Header::kNeedsCsum,
          .gso_type = is_ip6 ? Header::kGsoTcp6 : Header::kGsoTcp4,
          .hdr_len = static_cast<uint16_t>(tcp + 20),
          .gso_size = gso_size,
          .csum_start = tcp,
          .csum_offset = 16,
          .num_buffers = 0};
}

/// A frame of UDP over IPv4 or IPv6 with `payload_bytes`, and the header that has its checksum computed.
inline Bytes udp_frame(bool is_ip6, size_t payload_bytes) {
  return ip_frame(is_ip6, 17, 8, payload_bytes);
}
inline Header udp_header(bool is_ip6) {
  const auto udp = static_cast<uint16_t>(is_ip6 ? 54 : 34);
  return {.flags = Header::kNeedsCsum, .csum_start = udp, .csum_offset = 6};
}

/// What passed: a frame behind its header. `chains` says how many buffers it took of a guest's.
struct Packet {
  Header header{};
  Bytes frame;
  size_t chains = 0;
};

inline Bytes encode(const Header& header, std::span<const std::byte> frame) {
  Bytes bytes(kHeaderBytes + frame.size());
  std::memcpy(bytes.data(), &header, kHeaderBytes);
  if (!frame.empty()) std::memcpy(bytes.data() + kHeaderBytes, frame.data(), frame.size());
  return bytes;
}
inline std::optional<Packet> decode(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes) return std::nullopt;
  Packet packet;
  std::memcpy(&packet.header, bytes.data(), kHeaderBytes);
  packet.frame.assign(bytes.begin() + kHeaderBytes, bytes.end());
  return packet;
}

/// The host's end of a pair of datagram sockets that stands for a TAP.
class Wire {
 public:
  explicit Wire(int type = SOCK_DGRAM) {
    auto pair = sys::socketpair(type | SOCK_NONBLOCK);
    CHECK(pair.has_value());
    host_ = std::move(pair->first);
    device_ = std::move(pair->second);
  }

  Fd take_device_end() { return std::move(device_); }
  [[nodiscard]] int fd() const { return host_.get(); }
  /// False where there is no room.
  bool send(std::span<const std::byte> frame, const Header& header = {}) const {
    const Bytes bytes = encode(header, frame);
    return ::send(host_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
  }
  std::optional<Packet> take() const {
    Bytes bytes(kHeaderBytes + kMaxFrameBytes + 1);
    const ssize_t count = ::recv(host_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0) return std::nullopt;
    return decode(std::span(bytes).first(static_cast<size_t>(count)));
  }

 private:
  Fd host_;
  Fd device_;
};

/// Memory, device, transport and the driver's queues. Nothing is offered by itself.
class Guest {
 public:
  static constexpr uint16_t kQueueSize = 256;
  static constexpr uint64_t kSlotBytes = 0x11000;
  static constexpr uint64_t kSendSlots = 64;
  static constexpr uint64_t kReceiveSlots = 128;
  static constexpr uint64_t kSend = 0x20000;
  static constexpr uint64_t kReceive = kSend + kSendSlots * kSlotBytes;
  static constexpr uint64_t kMemoryBytes = kReceive + kReceiveSlots * kSlotBytes;
  static constexpr uint64_t kPlain =
      virtio::kFeatureVersion1 | virtio::kQueueFeatures | feature::kMac | feature::kMtu | feature::kStatus;
  static constexpr uint64_t kAll = kPlain | feature::kMrgRxbuf | feature::kOffloads;

  Guest(Reactor& reactor, reactor::BlockingPool& pool, Tap tap, const NetOptions& options)
      : device(reactor, pool, std::move(tap), options),
        transport(device, memory_ref(), host),
        mmio(transport) {}

  bool start(uint64_t features = kAll) {
    // As after a reset: nothing is on offer.
    receive = std::make_unique<virtio::testing::DriverQueue>(memory, 0x1000, kQueueSize);
    transmit = std::make_unique<virtio::testing::DriverQueue>(memory, 0x8000, kQueueSize);
    receive->start_at(0);
    transmit->start_at(0);
    slots_ = receive_slots();
    return mmio.start(features, {receive.get(), transmit.get()});
  }

  /// Offers `count` receive buffers of `len_bytes`, header included, split into `parts` descriptors.
  void offer(size_t count, uint32_t len_bytes = 2048, size_t parts = 1) {
    for (size_t i = 0; i < count; ++i) {
      const uint64_t base = slots_.take();
      std::vector<virtio::testing::Part> list;
      for (uint32_t at = 0, left = static_cast<uint32_t>(parts); left > 0; --left) {
        const uint32_t part = (len_bytes - at) / left;
        list.push_back({base + at, part, true});
        at += part;
      }
      slots_.post(receive->add(list), base);
    }
    mmio.notify(Net::kRxQueue);
  }

  /// Puts a frame into the transmit queue, its parts split at `splits`, without notifying.
  void put(const Header& header, std::span<const std::byte> frame,
           std::initializer_list<size_t> splits = {12}) {
    const Bytes bytes = encode(header, frame);
    const uint64_t base = kSend + next_slot_ * kSlotBytes;
    next_slot_ = (next_slot_ + 1) % kSendSlots;
    std::memcpy(memory.at(base, bytes.size()), bytes.data(), bytes.size());
    std::vector<virtio::testing::Part> parts;
    size_t at = 0;
    const auto add_to = [&](size_t end) {
      end = std::min(end, bytes.size());
      if (end > at) parts.push_back({base + at, static_cast<uint32_t>(end - at), false});
      at = std::max(at, end);
    };
    for (const size_t split : splits) add_to(split);
    add_to(bytes.size());
    transmit->add(parts);
  }
  void kick() {
    mmio.notify(Net::kTxQueue);
    while (transport.has_work()) transport.resume();
  }
  void send(std::span<const std::byte> frame, const Header& header = {}) {
    put(header, frame);
    kick();
  }
  /// How many frames the device is done with since the last call.
  size_t sent() const { return transmit->take_all_used(); }

  /// The next frame that the device gave, nullopt where there is none; its buffers are free again.
  std::optional<Packet> take() {
    const auto used = receive->take_used();
    if (!used) return std::nullopt;
    Bytes bytes = take_buffer(*used);
    auto packet = decode(bytes);
    if (!packet) return Packet{};
    packet->chains = 1;
    for (; packet->chains < packet->header.num_buffers; ++packet->chains) {
      const auto more = receive->take_used();
      CHECK(more.has_value());  // they come together
      const Bytes part = take_buffer(*more);
      packet->frame.insert(packet->frame.end(), part.begin(), part.end());
    }
    return packet;
  }
  [[nodiscard]] bool has_failed() const { return (mmio.device_status() & virtio::status::kNeedsReset) != 0; }

  virtio::testing::TestMemory memory{{0, kMemoryBytes}};
  virtio::testing::RecordingHost host;
  Net device;
  virtio::MmioTransport transport;
  virtio::testing::MmioDriver mmio;
  std::unique_ptr<virtio::testing::DriverQueue> receive;
  std::unique_ptr<virtio::testing::DriverQueue> transmit;

 private:
  [[nodiscard]] const virtio::GuestMemory& memory_ref() const { return memory.guest(); }
  static virtio::testing::ReceiveSlots receive_slots() { return {kReceive, kSlotBytes, kReceiveSlots}; }
  Bytes take_buffer(const virtio::testing::Used& used) {
    const uint64_t base = slots_.release(used);
    if (used.len_bytes == 0) return {};
    const std::byte* bytes = memory.at(base, used.len_bytes);
    return {bytes, bytes + used.len_bytes};
  }

  virtio::testing::ReceiveSlots slots_ = receive_slots();
  uint64_t next_slot_ = 0;
};

/// The guest's next frame, or the host's, waited for.
template <typename From>
Task<std::optional<Packet>> next(Reactor& reactor, From& from) {
  std::optional<Packet> packet;
  static_cast<void>(co_await eventually(reactor, [&] { return (packet = from.take()).has_value(); }));
  co_return packet;
}

/// Whether the device is done with `count` frames more of the guest's, waited for.
inline Task<bool> are_sent(Reactor& reactor, Guest& guest, size_t count) {
  size_t done = 0;
  co_return co_await eventually(reactor, [&] { return (done += guest.sent()) >= count; }) && done == count;
}

/// What a test works with.
struct Setup {
  Reactor& reactor;
  Guest& guest;
  Wire& wire;
};

/// Runs `body(setup)` against a device that a driver started with `features`, then stops it.
template <typename Body>
void with_guest(Body body, NetOptions options = {}, uint64_t features = Guest::kAll) {
  options.mac = kGuestMac;
  auto reactor = Reactor::create();
  CHECK(reactor.has_value());
  reactor::BlockingPool pool(**reactor, 1);
  Wire wire;
  Guest guest(**reactor, pool, Tap::of_socket(wire.take_device_end()).value(), options);
  CHECK(guest.start(features));
  Setup setup{**reactor, guest, wire};
  (*reactor)->run(body(setup));
  (*reactor)->run(guest.device.stop());
  CHECK((*reactor)->in_flight() == 0);
}

}  // namespace lambdo::virtio_net::testing
