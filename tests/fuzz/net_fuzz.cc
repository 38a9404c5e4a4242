// A hostile guest, and a wire of any behaviour, against the network device: the input is a program of frames,
// receive buffers, notifications, writes to the rings, resets, of what is on the wire, and of turns of the
// event loop. Most frames are nearly right, so that some pass. What passes is checked against the rules that
// hold for every frame that the kernel is given.

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "../unit/virtio/driver.h"
#include "../unit/virtio/loopback.h"
#include "base/check.h"
#include "base/syscalls.h"
#include "input.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"
#include "reactor/timer.h"
#include "virtio/mmio.h"
#include "virtio_net/device.h"

namespace lambdo::virtio_net::testing {

namespace {

using fuzz::Input;
using reactor::Reactor;
using reactor::Task;

constexpr uint64_t kMemoryBytes = 0x10000;
constexpr uint64_t kTransmitData = 0x4000;
constexpr uint64_t kReceiveData = 0xa000;
constexpr uint16_t kQueueSize = 16;
constexpr size_t kMaxInstructions = 128;
constexpr uint64_t kFeatures = virtio::kFeatureVersion1 | virtio::kQueueFeatures | feature::kMac |
                               feature::kMtu | feature::kStatus | feature::kMrgRxbuf | feature::kOffloads;
constexpr MacAddress kMac = {{2, 0, 0, 0, 0, 1}};
// Limits that a run reaches, and that end soon enough for it.
constexpr NetOptions kOptions = {.mac = kMac,
                                 .mtu = 1500,
                                 .transmit_limits = {.packets = {.per_second = 1'000'000, .burst = 16}},
                                 .receive_limits = {.bytes = {.per_second = 1'000'000'000, .burst = 4000}}};

/// One run: a guest with its device, and the other end of its wire.
class Run {
 public:
  Run(Reactor& reactor, reactor::BlockingPool& pool, const virtio::testing::TestMemory& memory)
      : reactor_(reactor),
        pool_(pool),
        memory_(memory),
        wire_(make_wire()),
        device_(reactor, pool, Tap::of_socket(std::move(wire_.second)).value(), kOptions) {
    start(kFeatures);
  }

  Task<> run(Input& input) {
    for (size_t i = 0; i < kMaxInstructions && !input.is_empty(); ++i) {
      const auto opcode = input.take<uint8_t>();
      if (opcode % 16 < 3) {
        co_await turn();
      } else {
        step(opcode % 16, input);
      }
      look_at_wire();
    }
    co_await device_.stop();
    const virtio::MmioState registers = transport_.save();
    look_at_wire();
    check_whole(registers);
    CHECK(reactor_.in_flight() == 0);
    co_await restore(registers);
  }

 private:
  static std::pair<Fd, Fd> make_wire() {
    auto pair = sys::socketpair(SOCK_DGRAM | SOCK_NONBLOCK);
    CHECK(pair.has_value());
    return std::move(*pair);
  }

  void step(int opcode, Input& input) {
    switch (opcode) {
      case 3:
      case 4:
        return send(input);
      case 5:
        return send_segmented(input);
      case 6:
        return send_raw(input);
      case 7:
      case 8:
        return offer_receive(input);
      case 9:
        return notify(input.take<uint8_t>());
      case 10:
      case 11:
        return write_wire(input);
      case 12:
        return device_.set_link(input.take<uint8_t>() % 4 != 0);
      case 13:
      case 14:
        return write_memory(input);
      default:
        return control(input);
    }
  }

  Task<> turn() { static_cast<void>(co_await reactor::SleepOp::until(reactor_, 0)); }

  void start(uint64_t features) {
    for (size_t i = 0; i < queues_.size(); ++i) {
      queues_[i].emplace(memory_, 0x1000 * (i + 1), kQueueSize);
      queues_[i]->start_at(0);
    }
    transport_driver_.start(features, {&*queues_[0], &*queues_[1]});
  }

  /// Offers a frame that lies at kTransmitData behind its header, in parts.
  void put(const Header& header, size_t frame_bytes, uint8_t cut) {
    auto& queue = *queues_[Net::kTxQueue];
    queue.take_all_used();
    if (queue.free_descriptors() < 3) return;
    std::memcpy(memory_.at(kTransmitData, kHeaderBytes), &header, kHeaderBytes);
    const auto all_bytes = static_cast<uint32_t>(kHeaderBytes + frame_bytes);
    const uint32_t first_bytes = std::min<uint32_t>(cut, all_bytes);
    queue.add({{kTransmitData, first_bytes, false},
               {kTransmitData + first_bytes, all_bytes - first_bytes, false},
               {kTransmitData, uint32_t{cut} & 1, true}});
    notify(Net::kTxQueue);
  }

  void write_ethernet(uint16_t ether_type) const {
    std::byte* frame = memory_.at(kTransmitData + kHeaderBytes, kEthernetBytes);
    std::memcpy(frame + 6, kMac.bytes.data(), kMac.bytes.size());
    frame[12] = static_cast<std::byte>(ether_type >> 8);
    frame[13] = static_cast<std::byte>(ether_type);
  }

  void send(Input& input) {
    const auto frame_bytes = input.take<uint16_t>() % 1600U;
    const auto shape = input.take<uint16_t>();
    write_ethernet((shape & 1) != 0 ? 0x0800 : 0x8100);
    std::byte* packet = memory_.at(kTransmitData + kHeaderBytes + kEthernetBytes, 20);
    packet[0] = std::byte{0x45};
    packet[9] = std::byte{17};
    Header header{};
    if ((shape & 2) != 0) {
      header = {
          .flags = 1, .csum_start = 34, .csum_offset = (shape & 4) != 0 ? uint16_t{6} : uint16_t(shape >> 8)};
    }
    put(header, frame_bytes, static_cast<uint8_t>(shape >> 4));
  }

  void send_segmented(Input& input) {
    const auto shape = input.take<uint16_t>();
    const bool is_ip6 = (shape & 1) != 0;
    const auto tcp = static_cast<uint16_t>(is_ip6 ? 54 : 34);
    write_ethernet(is_ip6 ? 0x86dd : 0x0800);
    std::byte* frame = memory_.at(kTransmitData + kHeaderBytes, 100);
    frame[14] = std::byte{static_cast<uint8_t>(is_ip6 ? 0x60 : 0x45)};
    frame[is_ip6 ? 20 : 23] = std::byte{6};
    if ((shape & 2) == 0) frame[tcp + 12] = std::byte{0x50};
    Header header = {.flags = 1,
                     .gso_type = is_ip6 ? Header::kGsoTcp6 : Header::kGsoTcp4,
                     .hdr_len = static_cast<uint16_t>(shape >> 8),
                     .gso_size = input.take<uint16_t>(),
                     .csum_start = tcp,
                     .csum_offset = 16};
    if ((shape & 4) != 0) header.gso_type |= Header::kGsoEcn;
    put(header, 54 + input.take<uint16_t>() % 0x4000U, static_cast<uint8_t>(shape >> 3));
  }

  void send_raw(Input& input) {
    const auto raw = input.take<std::array<uint8_t, kHeaderBytes>>();
    Header header;
    std::memcpy(&header, raw.data(), raw.size());
    put(header, input.take<uint8_t>(), input.take<uint8_t>());
  }

  void offer_receive(Input& input) {
    auto& queue = *queues_[Net::kRxQueue];
    const auto first_bytes = input.take<uint8_t>();
    const auto more_bytes = input.take<uint16_t>() % 0x2000U;
    queue.take_all_used();
    if (queue.free_descriptors() < 2) return;
    queue.add({{kReceiveData, first_bytes, true}, {kReceiveData + first_bytes, more_bytes, true}});
    notify(Net::kRxQueue);
  }

  void notify(uint8_t queue) {
    transport_driver_.notify(queue % 3U);
    if (transport_.has_work()) transport_.resume();
  }

  void write_wire(Input& input) const {
    std::array<uint8_t, kHeaderBytes + 8000> bytes{};
    const auto shape = input.take<uint16_t>();
    Header header{};
    if ((shape & 1) != 0) header = {.flags = 1, .csum_start = 34, .csum_offset = 16};
    if ((shape & 2) != 0) header.gso_type = static_cast<uint8_t>(shape >> 2 & 7);
    if ((shape & 0x1c) != 0) header.gso_size = static_cast<uint16_t>(shape >> 3);
    std::memcpy(bytes.data(), &header, sizeof header);
    const size_t len_bytes = 1 + input.take<uint16_t>() % (bytes.size() - 1);
    ::send(wire_.first.get(), bytes.data(), len_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  /// What passed is the guest's own, and nothing that a kernel would have to doubt.
  void look_at_wire() const {
    static std::array<std::byte, kHeaderBytes + kMaxFrameBytes + 1> bytes;
    while (true) {
      const ssize_t count = ::recv(wire_.first.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (count < 0) return;
      if (count == 0) continue;  // the rest of a frame whose memory was taken back by a reset
      CHECK(count >= static_cast<ssize_t>(kHeaderBytes + kEthernetBytes));
      CHECK(count < static_cast<ssize_t>(bytes.size()));
      Header header;
      std::memcpy(&header, bytes.data(), kHeaderBytes);
      const auto frame_bytes = static_cast<size_t>(count) - kHeaderBytes;
      const auto frame = std::span(bytes).subspan(kHeaderBytes, frame_bytes);
      CHECK(std::ranges::equal(frame.subspan(6, 6), std::as_bytes(std::span(kMac.bytes))));
      const auto again =
          check_transmit(header, {frame.first(std::min(frame_bytes, FrameStart::kMaxBytes)), frame_bytes},
                         kFeatures, kOptions.mtu);
      CHECK(again.has_value() && again->header == header);
    }
  }

  void write_memory(Input& input) {
    const auto addr = input.take<uint16_t>();
    static_cast<void>(memory_.guest().write(addr, input.take<uint32_t>()));
  }

  void control(Input& input) {
    const auto choice = input.take<uint8_t>();
    if (choice < 16) return transport_driver_.write(0x70, 0);
    if (choice < 128) {
      const uint64_t features = input.take<uint32_t>() | virtio::kFeatureVersion1;
      return start((choice & 1) != 0 ? kFeatures : features & kFeatures);
    }
    std::array<std::byte, 8> config{};
    transport_.read(0x100 + choice % 16U, config);
    transport_.write(0x100 + choice % 16U, config);
  }

  /// A stopped device holds no chain, unless its driver broke the rules.
  static void check_whole(const virtio::MmioState& registers) {
    if (registers.is_broken()) return;
    for (const virtio::QueueState& queue : registers.queues) CHECK(!queue.ready || queue.in_flight() == 0);
  }

  /// What was saved runs on in another device, whatever the guest had done to it.
  Task<> restore(const virtio::MmioState& registers) {
    auto wire = make_wire();
    Net device(reactor_, pool_, Tap::of_socket(std::move(wire.second)).value(), kOptions);
    virtio::testing::RecordingHost host;
    CHECK(device.restore(device_.save()).has_value());
    virtio::MmioTransport transport(device, memory_.guest(), host);
    if (transport.restore(registers)) {
      for (int i = 0; i < 4 && transport.has_work(); ++i) transport.resume();
      co_await turn();
    }
    co_await device.stop();
  }

  Reactor& reactor_;
  reactor::BlockingPool& pool_;
  const virtio::testing::TestMemory& memory_;
  std::pair<Fd, Fd> wire_;
  Net device_;
  virtio::testing::RecordingHost host_;
  virtio::MmioTransport transport_{device_, memory_.guest(), host_};
  virtio::testing::MmioDriver transport_driver_{transport_};
  std::array<std::optional<virtio::testing::DriverQueue>, 2> queues_;
};

}  // namespace

}  // namespace lambdo::virtio_net::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lambdo::virtio_net::testing;
  // A ring is dear to make, and has nothing of a run left in it.
  static const auto reactor = lambdo::reactor::Reactor::create();
  CHECK(reactor.has_value());
  static lambdo::reactor::BlockingPool pool(**reactor, 1);
  static const lambdo::virtio::testing::TestMemory memory({{0, kMemoryBytes}});
  memory.clear();
  lambdo::fuzz::Input input({data, size});
  Run run(**reactor, pool, memory);
  (*reactor)->run(run.run(input));
  return 0;
}
