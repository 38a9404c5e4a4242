// A hostile guest against the virtio transport: the input is a program of register accesses, writes to guest
// memory, notifications, and turns of the event loop, run on an entropy and a loopback device that share the
// guest's memory. Some instructions are well-formed driver steps, so that the rings are reached at all.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "../unit/virtio/driver.h"
#include "../unit/virtio/loopback.h"
#include "base/check.h"
#include "input.h"
#include "virtio/mmio.h"
#include "virtio/rng.h"

namespace lambdo::virtio::testing {

namespace {

using fuzz::Input;

constexpr uint64_t kLowBytes = 0x6000;
constexpr uint64_t kHighAddr = uint64_t{4} << 30;
constexpr uint64_t kHighBytes = 0x2000;
constexpr size_t kMaxInstructions = 256;

/// An address in or near guest memory, from 16 bits.
uint64_t address_from(uint16_t bits) {
  const uint64_t offset = bits & 0x7fff;
  if ((bits & 0x8000) == 0) return offset;
  return offset < 0x4000 ? kHighAddr + offset : ~uint64_t{0} - (offset & 0xff);
}

struct Slot {
  Slot(Device& attached, const GuestMemory& memory) : device(attached), transport(device, memory, host) {}

  Device& device;
  RecordingHost host;
  MmioTransport transport;
  MmioDriver mmio{transport};
};

/// A guest for one input; its two slots are an entropy device and a loopback.
class Guest {
 public:
  explicit Guest(const TestMemory& memory) : memory_(memory) {
    slots_[0] = std::make_unique<Slot>(rng_, memory.guest());
    slots_[1] = std::make_unique<Slot>(loopback_, memory.guest());
  }

  void run(Input& input) {
    for (size_t i = 0; i < kMaxInstructions && !input.is_empty(); ++i) step(input);
    for (const auto& slot : slots_) check(*slot);
  }

 private:
  void step(Input& input) {
    const auto opcode = input.take<uint8_t>();
    const size_t index = opcode >> 7;
    Slot& slot = *slots_[index];
    switch (opcode % 15) {
      case 0:
        return read_any(slot, input);
      case 1:
        return write_any(slot, input);
      case 2:
        return slot.mmio.write(input.take<uint8_t>() & 0xfc, input.take<uint32_t>());
      case 3:
        return write_memory(input);
      case 4:
        return slot.transport.notify(input.take<uint8_t>() & 3);
      case 5:
        return slot.transport.resume();
      case 6:
        return static_cast<void>(loopback_.complete_held());
      case 7:
        return start(slot, input);
      case 8:
        return set_descriptor(input);
      case 9:
        return offer(input);
      case 10:
        return save_and_restore(index, input);
      case 11:
        return slot.mmio.write(0x70, input.take<uint8_t>());
      case 12:
        return offer_request(input);
      case 13:
        return take_used(slot);
      default:
        return signal_config();
    }
  }

  static void read_any(Slot& slot, Input& input) {
    std::array<std::byte, 16> bytes;
    const auto offset = input.take<uint16_t>();
    slot.transport.read(offset, std::span(bytes).first(input.take<uint8_t>() & 15));
  }

  static void write_any(Slot& slot, Input& input) {
    const auto bytes = input.take<std::array<std::byte, 16>>();
    const auto offset = input.take<uint16_t>();
    slot.transport.write(offset, std::span(bytes).first(input.take<uint8_t>() & 15));
  }

  void write_memory(Input& input) {
    const auto bits = input.take<uint16_t>();
    const auto value = input.take<uint32_t>();
    static_cast<void>(memory_.guest().write(address_from(bits), value));
  }

  /// Runs the initialisation with sizes, addresses and features mostly right.
  void start(Slot& slot, Input& input) {
    const auto bits = input.take<uint8_t>();
    size_ = static_cast<uint16_t>(1U << (bits & 7));
    const uint64_t base = (bits & 8) != 0 ? kHighAddr : 0x1000;
    const uint64_t offered = slot.device.features() | kFeatureVersion1;
    if (!slot.mmio.negotiate((bits & 16) != 0 ? offered : kFeatureVersion1)) return;
    queue_ = std::make_unique<DriverQueue>(memory_, base, size_);
    queue_->start_at(0);
    slot.mmio.set_up_queue(0, *queue_);
    if ((bits & 32) != 0) slot.mmio.set_up_queue(1, *queue_);
    if ((bits & 64) != 0) slot.mmio.write(0x38, input.take<uint16_t>());
    slot.mmio.set_status(status::kDriverOk);
  }

  void set_descriptor(Input& input) {
    if (!queue_) return;
    const auto where = input.take<uint8_t>();
    Descriptor descriptor{};
    descriptor.addr = address_from(input.take<uint16_t>());
    descriptor.len_bytes = input.take<uint8_t>() * ((where & 0x80) != 0 ? 16U : 1U);
    descriptor.flags = input.take<uint8_t>() & 7;
    descriptor.next = input.take<uint8_t>();
    if ((where & 0x40) != 0) {
      // Into what an indirect descriptor at 0x4000 finds.
      queue_->set_entry(0x4000, where & 15, descriptor);
    } else {
      queue_->set_descriptor(static_cast<uint16_t>((where & 15) % size_), descriptor);
    }
  }

  void offer(Input& input) {
    if (!queue_) return;
    const auto head = input.take<uint8_t>();
    queue_->offer((head & 0x80) != 0 ? head : static_cast<uint16_t>(head % size_));
    if ((head & 0x40) != 0) queue_->set_used_event(input.take<uint16_t>());
  }

  /// Moves a slot to a new transport, its state damaged or not, and checks that nothing was lost.
  void save_and_restore(size_t index, Input& input) {
    MmioState saved = slots_[index]->transport.save();
    const auto damage = input.take<uint8_t>();
    auto& queue = saved.queues[damage % saved.queues.size()];
    switch (damage >> 4) {
      case 0:
        queue.next_avail = input.take<uint16_t>();
        break;
      case 1:
        queue.device_addr = input.take<uint64_t>();
        break;
      case 2:
        queue.size = input.take<uint16_t>();
        break;
      case 3:
        saved.status = input.take<uint8_t>();
        break;
      case 4:
        saved.driver_features = input.take<uint64_t>();
        break;
      case 5:
        queue.ready = !queue.ready;
        break;
      default:
        break;
    }
    Device& device = slots_[index]->device;
    slots_[index].reset();
    slots_[index] = std::make_unique<Slot>(device, memory_.guest());
    const auto restored = slots_[index]->transport.restore(saved);
    if (damage >> 4 > 5) CHECK(restored.has_value() && slots_[index]->transport.save() == saved);
  }

  /// A request as a good driver makes it: readable, then writable buffers.
  void offer_request(Input& input) {
    const auto shape = input.take<uint8_t>();
    const size_t count = shape % 6 + size_t{1};
    if (!queue_ || queue_->free_descriptors() < count) return;
    std::vector<Part> parts;
    for (size_t i = 0; i < count; ++i) {
      parts.push_back({0x4800 + uint64_t{input.take<uint8_t>()}, input.take<uint8_t>(), i >= shape / 32U});
    }
    if ((shape & 16) != 0) {
      queue_->add_indirect(parts, 0x4000);
    } else {
      queue_->add(parts);
    }
  }

  void take_used(Slot& slot) {
    if (!queue_) return;
    queue_->take_all_used();
    slot.mmio.write(0x64, slot.mmio.read(0x60));
  }

  void signal_config() {
    if (loopback_.context()) loopback_.context()->interrupt.signal_config();
  }

  /// What holds whatever the guest did.
  void check(const Slot& slot) const {
    const MmioState state = slot.transport.save();
    CHECK(validate(state, slot.device).has_value());
    if (state.has(status::kDriverOk) && !state.is_broken()) {
      for (const QueueState& queue : state.queues) CHECK(validate(queue, memory_.guest()).has_value());
    }
    // A failure while the driver is there is told to it (virtio 1.2, 2.1.2).
    CHECK(!state.has(status::kNeedsReset) || slot.host.failures == 0 || slot.host.interrupts > 0);
  }

  const TestMemory& memory_;
  Rng rng_;
  Loopback loopback_;
  std::array<std::unique_ptr<Slot>, 2> slots_;
  std::unique_ptr<DriverQueue> queue_;
  uint16_t size_ = 1;
};

}  // namespace

}  // namespace lambdo::virtio::testing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lambdo::virtio::testing;
  static const TestMemory memory({{0, kLowBytes}, {kHighAddr, kHighBytes}});
  memory.clear();
  lambdo::fuzz::Input input({data, size});
  Guest(memory).run(input);
  return 0;
}
