// A hostile guest, and a host of any behaviour, against the socket device: the input is a program of packets,
// receive buffers, notifications, writes to the rings, resets, of what the host does with its sockets, and of
// turns of the event loop. Most packets are nearly right, so that connections come about at all.

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "../unit/virtio/driver.h"
#include "../unit/virtio/loopback.h"
#include "base/check.h"
#include "input.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "virtio/mmio.h"
#include "vsock/device.h"

namespace lambdo::vsock::testing {

namespace {

using fuzz::Input;
using reactor::Reactor;
using reactor::Task;

constexpr uint64_t kMemoryBytes = 0x8000;
constexpr uint64_t kTransmitData = 0x4000;
constexpr uint64_t kReceiveData = 0x6000;
constexpr uint16_t kQueueSize = 8;
constexpr size_t kMaxInstructions = 128;
constexpr VsockOptions kOptions = {.guest_cid = 3, .max_connections = 4, .buffer_bytes = 512};

/// One run: a guest with its device, and the host's ends of its connections.
class Run {
 public:
  Run(Reactor& reactor, const virtio::testing::TestMemory& memory)
      : reactor_(reactor), memory_(memory), device_(reactor, kOptions), calls_(reactor) {
    for (uint32_t port = 0; port < 2; ++port) {
      device_.listen(port, [this](Fd socket, uint32_t) { keep(std::move(socket)); });
    }
    start(virtio::kFeatureVersion1 | virtio::kQueueFeatures);
  }

  Task<> run(Input& input) {
    for (size_t i = 0; i < kMaxInstructions && !input.is_empty(); ++i) {
      const auto opcode = input.take<uint8_t>();
      if (opcode % 16 < 3) {
        co_await turn();
      } else {
        step(opcode % 16, input);
      }
      CHECK(device_.connections() <= kOptions.max_connections);
    }
    const virtio::MmioState registers = transport_.save();
    calls_.cancel();
    co_await device_.stop();
    co_await calls_.join();
    CHECK(device_.connections() == 0 && reactor_.in_flight() == 0);
    restore(registers);
  }

 private:
  void step(int opcode, Input& input) {
    switch (opcode) {
      case 3:
      case 4:
      case 5:
        return send(input);
      case 6:
        return send_raw(input);
      case 7:
      case 8:
        return offer_receive(input);
      case 9:
        return notify(input.take<uint8_t>());
      case 10:
        return write_socket(input);
      case 11:
        return read_socket(input);
      case 12:
        return end_socket(input);
      case 13:
        return call(input);
      case 14:
        return write_memory(input);
      default:
        return control(input);
    }
  }

  Task<> turn() { static_cast<void>(co_await reactor::SleepOp::until(reactor_, 0)); }

  void start(uint64_t features) {
    for (auto& queue : queues_) queue.reset();
    for (size_t i = 0; i < queues_.size(); ++i) {
      queues_[i].emplace(memory_, 0x1000 * (i + 1), kQueueSize);
      queues_[i]->start_at(0);
    }
    transport_driver_.start(features, {&*queues_[0], &*queues_[1], &*queues_[2]});
  }

  void keep(Fd socket) {
    if (sockets_.size() < 8) sockets_.push_back(std::move(socket));
  }

  void put(const Header& header, uint32_t payload_bytes) {
    auto& queue = *queues_[Vsock::kTxQueue];
    queue.take_all_used();
    if (queue.free_descriptors() < 2) return;
    const RawHeader raw = encode(header);
    std::memcpy(memory_.at(kTransmitData, raw.size()), raw.data(), raw.size());
    if (payload_bytes == 0) {
      queue.add({{kTransmitData, kHeaderBytes, false}});
    } else {
      queue.add({{kTransmitData, kHeaderBytes, false}, {kTransmitData + kHeaderBytes, payload_bytes, false}});
    }
    notify(Vsock::kTxQueue);
  }

  /// A packet with few ports and nearly right fields.
  void send(Input& input) {
    const auto shape = input.take<uint16_t>();
    const auto len_bytes = input.take<uint8_t>();
    Header header = {.src_cid = (shape & 0xf000) == 0xf000 ? 4U : 3U,
                     .dst_cid = kHostCid,
                     .src_port = shape >> 3 & 3U,
                     .dst_port = shape >> 5 & 3U,
                     .len_bytes = 0,
                     .type = kTypeStream,
                     .op = static_cast<uint16_t>(shape & 7),
                     .flags = shape >> 7 & 3U,
                     .buf_alloc = (shape & 0x200) != 0 ? len_bytes : 1U << 16,
                     .fwd_cnt = (shape & 0x400) != 0 ? len_bytes : 0U};
    // A call of the host's comes from a port that the guest learns from the request.
    if ((shape & 0x800) != 0) header.dst_port = last_called_;
    if (header.op == static_cast<uint16_t>(Op::data)) header.len_bytes = len_bytes * 4U;
    put(header, header.len_bytes);
  }

  void send_raw(Input& input) {
    const auto raw = input.take<RawHeader>();
    put(decode(raw), input.take<uint8_t>());
  }

  void offer_receive(Input& input) {
    auto& queue = *queues_[Vsock::kRxQueue];
    const auto len_bytes = input.take<uint16_t>() % 0x1000U;
    collect();
    if (queue.free_descriptors() < 2) return;
    queue.add({{kReceiveData, kHeaderBytes - 4, true}, {kReceiveData + kHeaderBytes - 4, len_bytes, true}});
    notify(Vsock::kRxQueue);
  }

  /// Looks at the packets given, all in the same buffer: only the last is to be seen.
  void collect() {
    queues_[Vsock::kRxQueue]->take_all_used();
    RawHeader raw;
    std::memcpy(raw.data(), memory_.at(kReceiveData, raw.size()), raw.size());
    const Header header = decode(raw);
    if (op_of(header) == Op::request) last_called_ = header.src_port;
  }

  void notify(uint8_t queue) {
    transport_driver_.notify(queue % 4U);
    if (transport_.has_work()) transport_.resume();
  }

  [[nodiscard]] Fd* socket(uint8_t choice) {
    return sockets_.empty() ? nullptr : &sockets_[choice % sockets_.size()];
  }

  void write_socket(Input& input) {
    const Fd* chosen = socket(input.take<uint8_t>());
    const size_t len_bytes = input.take<uint8_t>() * 16U;
    static constexpr std::array<std::byte, 4096> kBytes{};
    if (chosen != nullptr) ::send(chosen->get(), kBytes.data(), len_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  void read_socket(Input& input) {
    const Fd* chosen = socket(input.take<uint8_t>());
    std::array<std::byte, 4096> bytes;
    if (chosen != nullptr) ::recv(chosen->get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  }

  void end_socket(Input& input) {
    const auto choice = input.take<uint8_t>();
    Fd* chosen = socket(choice >> 2);
    if (chosen == nullptr) return;
    if ((choice & 3) == 3) {
      sockets_.erase(sockets_.begin() + (chosen - sockets_.data()));
    } else {
      ::shutdown(chosen->get(), choice & 3);
    }
  }

  Task<> call_guest(uint32_t port) {
    auto called = co_await device_.connect(port, calls_.token());
    if (called) keep(std::move(*called));
  }

  void call(Input& input) {
    if (calls_.running() < 8) calls_.spawn(call_guest(input.take<uint8_t>() & 3U));
  }

  void write_memory(Input& input) {
    const auto addr = input.take<uint16_t>();
    static_cast<void>(memory_.guest().write(addr, input.take<uint32_t>()));
  }

  void control(Input& input) {
    const auto choice = input.take<uint8_t>();
    if (choice < 16) transport_driver_.write(0x70, 0);
    if (choice >= 16 && choice < 64) {
      start((choice & 1) != 0 ? virtio::kFeatureVersion1 : virtio::kFeatureVersion1 | virtio::kQueueFeatures);
    }
    if (choice >= 64) {
      auto& queue = *queues_[Vsock::kEventQueue];
      if (queue.free_descriptors() > 0) queue.add({{kReceiveData, choice & 7U, true}});
      notify(Vsock::kEventQueue);
    }
  }

  /// What was saved runs on in another device, whatever the guest had done to it.
  void restore(const virtio::MmioState& registers) {
    Vsock device(reactor_, kOptions);
    virtio::testing::RecordingHost host;
    CHECK(device.restore(device_.save()).has_value());
    virtio::MmioTransport transport(device, memory_.guest(), host);
    if (!transport.restore(registers)) return;
    for (int i = 0; i < 4 && transport.has_work(); ++i) transport.resume();
  }

  Reactor& reactor_;
  const virtio::testing::TestMemory& memory_;
  std::vector<Fd> sockets_;
  Vsock device_;
  virtio::testing::RecordingHost host_;
  virtio::MmioTransport transport_{device_, memory_.guest(), host_};
  virtio::testing::MmioDriver transport_driver_{transport_};
  std::array<std::optional<virtio::testing::DriverQueue>, 3> queues_;
  reactor::Scope calls_;
  uint32_t last_called_ = 1U << 30;
};

}  // namespace

}  // namespace lambdo::vsock::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lambdo::vsock::testing;
  // A ring is dear to make, and has nothing of a run left in it.
  static const auto reactor = lambdo::reactor::Reactor::create();
  CHECK(reactor.has_value());
  static const lambdo::virtio::testing::TestMemory memory({{0, kMemoryBytes}});
  memory.clear();
  lambdo::fuzz::Input input({data, size});
  Run run(**reactor, memory);
  (*reactor)->run(run.run(input));
  return 0;
}
