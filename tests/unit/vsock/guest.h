#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "../reactor/eventually.h"
#include "../virtio/driver.h"
#include "../virtio/loopback.h"
#include "base/check.h"
#include "reactor/reactor.h"
#include "virtio/mmio.h"
#include "vsock/device.h"

/// A guest's vsock driver, scripted, on top of the virtio driver.
namespace lambdo::vsock::testing {

using reactor::eventually;

/// A packet as the guest sees it.
struct Packet {
  Header header{};
  std::vector<std::byte> payload;

  [[nodiscard]] bool is(Op op) const { return header.op == static_cast<uint16_t>(op); }
};

/// Memory, device, transport and the driver's queues. Receive buffers are offered on request, and packets
/// taken from them; nothing is answered by itself.
class Guest {
 public:
  static constexpr uint64_t kCid = 3;
  static constexpr uint64_t kPackets = 0x20000;    ///< where sent packets lie, in slots
  static constexpr uint64_t kReceive = 0x420000;   ///< where receive buffers lie, in slots
  static constexpr uint64_t kSlotBytes = 0x11000;  ///< a header and 64 KiB, rounded up
  static constexpr uint64_t kSlots = 32;
  static constexpr uint64_t kMemoryBytes = kReceive + kSlots * kSlotBytes;
  static constexpr uint64_t kFeatures = virtio::kFeatureVersion1 | virtio::kQueueFeatures;

  explicit Guest(reactor::Reactor& reactor, VsockOptions options = {})
      : device(reactor, options), transport(device, memory_ref(), host), mmio(transport) {}

  bool start(uint64_t features = kFeatures) { return mmio.start(features, {&receive, &transmit, &events}); }

  /// Offers `count` receive buffers of `len_bytes`, header included, split into `parts` descriptors.
  void offer_receive(size_t count, uint32_t len_bytes = 4096 + kHeaderBytes, size_t parts = 2) {
    for (size_t i = 0; i < count; ++i) {
      const uint64_t base = slots_.take();
      std::vector<virtio::testing::Part> list;
      const uint32_t first = parts > 1 ? kHeaderBytes : len_bytes;
      list.push_back({base, first, true});
      if (len_bytes > first) list.push_back({base + first, len_bytes - first, true});
      slots_.post(receive.add(list), base);
    }
  }
  void kick_receive() { mmio.notify(Vsock::kRxQueue); }

  /// Puts a packet into the transmit queue without notifying. `offered_bytes` of payload are readable, which
  /// may differ from what the header says.
  void put(const Header& header, std::span<const std::byte> payload) {
    const uint64_t base = kPackets + next_slot_ * kSlotBytes;
    next_slot_ = (next_slot_ + 1) % kSlots;
    const RawHeader raw = encode(header);
    std::memcpy(memory.at(base, raw.size()), raw.data(), raw.size());
    if (!payload.empty())
      std::memcpy(memory.at(base + kHeaderBytes, payload.size()), payload.data(), payload.size());
    std::vector<virtio::testing::Part> parts = {{base, kHeaderBytes, false}};
    if (!payload.empty())
      parts.push_back({base + kHeaderBytes, static_cast<uint32_t>(payload.size()), false});
    transmit.add(parts);
  }
  void send(const Header& header, std::span<const std::byte> payload = {}) {
    put(header, payload);
    mmio.notify(Vsock::kTxQueue);
    while (transport.has_work()) transport.resume();
    transmit.take_all_used();
  }

  /// The next packet that the device gave, nullopt where there is none; its buffer is free again.
  std::optional<Packet> take() {
    const auto used = receive.take_used();
    if (!used) return std::nullopt;
    const uint64_t base = slots_.release(*used);
    Packet packet;
    if (used->len_bytes < kHeaderBytes) return packet;
    RawHeader raw;
    std::memcpy(raw.data(), memory.at(base, raw.size()), raw.size());
    packet.header = decode(raw);
    CHECK(packet.header.len_bytes + kHeaderBytes == used->len_bytes);
    if (packet.header.len_bytes > 0) {
      const std::byte* payload = memory.at(base + kHeaderBytes, packet.header.len_bytes);
      packet.payload.assign(payload, payload + packet.header.len_bytes);
    }
    return packet;
  }
  [[nodiscard]] bool has_failed() const { return (mmio.device_status() & virtio::status::kNeedsReset) != 0; }

  virtio::testing::TestMemory memory{{0, kMemoryBytes}};
  virtio::testing::RecordingHost host;
  Vsock device;
  virtio::MmioTransport transport;
  virtio::testing::MmioDriver mmio;
  virtio::testing::DriverQueue receive{memory, 0x1000, 64};
  virtio::testing::DriverQueue transmit{memory, 0x4000, 64};
  virtio::testing::DriverQueue events{memory, 0x8000, 8};

 private:
  [[nodiscard]] const virtio::GuestMemory& memory_ref() const { return memory.guest(); }

  virtio::testing::ReceiveSlots slots_{kReceive, kSlotBytes, kSlots};
  uint64_t next_slot_ = 0;
};

/// A packet of the guest's with these ports, with a large buffer announced.
inline Header packet(Op op, uint32_t guest_port, uint32_t host_port) {
  return {.src_cid = Guest::kCid,
          .dst_cid = kHostCid,
          .src_port = guest_port,
          .dst_port = host_port,
          .len_bytes = 0,
          .type = kTypeStream,
          .op = static_cast<uint16_t>(op),
          .flags = 0,
          .buf_alloc = 256 << 10,
          .fwd_cnt = 0};
}
inline Header data_packet(uint32_t guest_port, uint32_t host_port, uint32_t len_bytes) {
  Header header = packet(Op::data, guest_port, host_port);
  header.len_bytes = len_bytes;
  return header;
}

/// The next packet, waited for.
inline reactor::Task<std::optional<Packet>> next_packet(reactor::Reactor& reactor, Guest& guest) {
  std::optional<Packet> packet;
  static_cast<void>(co_await eventually(reactor, [&] { return (packet = guest.take()).has_value(); }));
  co_return packet;
}

}  // namespace lambdo::vsock::testing
