#include "kvm/vm.h"

#include <array>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "reactor/timer.h"
#include "tiny_guest.h"
#include "virtio/rng.h"
#include "vm_fixture.h"

#include "test.h"

namespace lambdo::kvm {

using fixture::Assembler;
using fixture::has_kvm;
using fixture::Host;
using fixture::Outcome;
using fixture::tiny_vm;

namespace {

/// A device that does what a test wants.
class FakeDevice final : public virtio::Device {
 public:
  std::function<virtio::Work(virtio::Interrupt&)> notified = [](virtio::Interrupt&) {
    return virtio::Work::drained;
  };
  uint64_t notifications = 0;
  int activations = 0;
  int resets = 0;

  [[nodiscard]] uint32_t type() const override { return 42; }
  [[nodiscard]] uint64_t features() const override { return 0; }
  [[nodiscard]] std::span<const uint16_t> queue_max_sizes() const override { return kSizes; }
  Result<> activate(const virtio::ActivationContext& context) override {
    ++activations;
    interrupt_ = &context.interrupt;
    return {};
  }
  Result<virtio::Work> queue_notified(uint16_t /*queue*/) override {
    ++notifications;
    return notified(*interrupt_);
  }
  void reset() override { ++resets; }

 private:
  static constexpr std::array<uint16_t, 1> kSizes = {8};
  virtio::Interrupt* interrupt_ = nullptr;
};

Outcome run(VmConfig config, int64_t limit_ms = 60'000) {
  Host host;
  auto outcome = host.run(std::move(config), limit_ms);
  REQUIRE_MESSAGE(outcome.has_value(), outcome.error().message);
  return std::move(*outcome);
}

uint64_t notify_addr() {
  return virtio_window(0).addr + virtio::MmioTransport::kNotifyOffset;
}

}  // namespace

TEST_CASE("what a guest writes to its serial port is its console, and its power off is told") {
  if (!has_kvm()) return;
  const Outcome outcome = run(tiny_vm(Assembler().print("hello\n").power_off()));
  CHECK_EQ(outcome.console, "hello\n");
  CHECK_EQ(outcome.exit.end, VmEnd::power_off);
  CHECK_GT(outcome.timings.first_run_us, 0);
  CHECK_GE(outcome.timings.first_run_us, outcome.timings.create_us + outcome.timings.load_us);
}

TEST_CASE("each way that a guest ends is told apart") {
  if (!has_kvm()) return;
  struct Row {
    Assembler code;
    VmEnd end;
  };
  const std::vector<Row> rows = {
      {Assembler().power_off(), VmEnd::power_off},
      {Assembler().out(kResetPort, kResetValue), VmEnd::reset},
      // No interrupt table: the fault's handler faults, and that one's.
      {Assembler().bytes({0x0f, 0x0b}), VmEnd::triple_fault},  // ud2
  };
  for (const Row& row : rows) {
    const Outcome outcome = run(tiny_vm(row.code));
    CHECK_EQ(outcome.exit.end, row.end);
    CHECK_FALSE(outcome.exit.detail.empty());
  }
}

TEST_CASE("other values at the power and reset ports do nothing") {
  if (!has_kvm()) return;
  const Outcome outcome = run(tiny_vm(Assembler()
                                          .out(kResetPort, 0xd1)
                                          .out(kSleepControlPort, kPowerOffValue & ~0x20)
                                          .out(kSleepStatusPort, kPowerOffValue)
                                          .print("on")
                                          .power_off()));
  CHECK_EQ(outcome.console, "on");
}

TEST_CASE("ports and addresses that nobody serves read as ones and take no writes") {
  if (!has_kvm()) return;
  virtio::Rng rng;
  VmConfig config = tiny_vm(Assembler()
                                .out(0x80, 1)
                                .store(virtio_window(1).addr, 1)
                                .in(0x80)
                                .print_eax()
                                .in(kResetPort)
                                .print_eax()
                                .load(virtio_window(1).addr)
                                .print_eax()
                                .load(virtio_window(0).addr - 4)
                                .print_eax()
                                .load(virtio_window(0).addr + kVirtioMmioBytes - 2)
                                .print_eax()
                                .power_off());
  config.devices = {&rng};
  const Outcome outcome = run(std::move(config));
  CHECK_EQ(outcome.console, std::string("\xff\0\0\0"
                                        "\0\0\0\0"
                                        "\xff\xff\xff\xff"
                                        "\xff\xff\xff\xff"
                                        "\0\0\xff\xff",  // across the end of a device's window: two accesses
                                        20));
}

TEST_CASE("a guest reads its devices' registers, each in its window") {
  if (!has_kvm()) return;
  virtio::Rng rng;
  FakeDevice fake;
  VmConfig config = tiny_vm(Assembler()
                                .load(virtio_window(0).addr)
                                .print_eax()
                                .load(virtio_window(0).addr + 8)
                                .print_eax()
                                .load(virtio_window(1).addr + 8)
                                .print_eax()
                                .power_off());
  config.devices = {&rng, &fake};
  CHECK_EQ(run(std::move(config)).console, std::string("virt\x04\0\0\0*\0\0\0", 12));
}

TEST_CASE("a notification reaches the device, whose interrupt reaches the guest") {
  if (!has_kvm()) return;
  FakeDevice device;
  device.notified = [](virtio::Interrupt& interrupt) {
    interrupt.signal_used(0);
    return virtio::Work::drained;
  };
  VmConfig config = tiny_vm(Assembler()
                                .route_interrupt(virtio_window(0).gsi, Assembler().print("irq").power_off())
                                .start_virtio_device(0)
                                .store(notify_addr(), 0)
                                .wait_for_interrupts());
  config.devices = {&device};
  const Outcome outcome = run(std::move(config));
  CHECK_EQ(outcome.console, "irq");
  CHECK_EQ(outcome.exit.end, VmEnd::power_off);
  CHECK_EQ(device.activations, 1);
  CHECK_EQ(device.notifications, 1);
  CHECK_EQ(device.resets, 1);  // by destroy()
}

TEST_CASE("a device that has more work is woken again, each time in a later turn of the loop") {
  if (!has_kvm()) return;
  Host host;
  FakeDevice device;
  std::vector<uint64_t> turns;
  device.notified = [&](virtio::Interrupt& interrupt) {
    turns.push_back(host.reactor->statistics().turns);
    if (turns.size() < 5) return virtio::Work::more;
    interrupt.signal_used(0);
    return virtio::Work::drained;
  };
  VmConfig config = tiny_vm(Assembler()
                                .route_interrupt(virtio_window(0).gsi, Assembler().power_off())
                                .start_virtio_device(0)
                                .store(notify_addr(), 0)
                                .wait_for_interrupts());
  config.devices = {&device};
  REQUIRE_EQ(host.run(std::move(config)).value().exit.end, VmEnd::power_off);
  REQUIRE_EQ(turns.size(), 5);
  for (size_t i = 1; i < turns.size(); ++i) CHECK_GT(turns[i], turns[i - 1]);
}

TEST_CASE("a guest that notifies without end costs one wake-up a turn, and is killed all the same") {
  if (!has_kvm()) return;
  Host host;
  FakeDevice device;
  device.notified = [](virtio::Interrupt&) { return virtio::Work::more; };
  Assembler code;
  code.start_virtio_device(0);
  const size_t again = code.size();
  VmConfig config = tiny_vm(code.store(notify_addr(), 0).jump_to(again));
  config.devices = {&device};
  const uint64_t turns_before = host.reactor->statistics().turns;
  const Outcome outcome = host.run(std::move(config), 300).value();
  CHECK_EQ(outcome.exit.end, VmEnd::killed);
  CHECK_GT(device.notifications, 10);
  // By its notification and because it has more work.
  CHECK_LE(device.notifications, 2 * (host.reactor->statistics().turns - turns_before));
}

TEST_CASE("a guest that waits for ever, and one that never pauses, are killed at once") {
  if (!has_kvm()) return;
  for (const Assembler& code : {Assembler().print("x").bytes({0xfa, 0xf4, 0xeb, 0xfd}),  // cli; hlt; jmp
                                Assembler().print("x").bytes({0xeb, 0xfe})}) {           // jmp to itself
    Host host;
    constexpr int64_t kLimitMs = 100;
    const int64_t start_ns = host.reactor->now_ns();
    const Outcome outcome = host.run(tiny_vm(code), kLimitMs).value();
    CHECK_EQ(outcome.exit.end, VmEnd::killed);
    CHECK_LT((host.reactor->now_ns() - start_ns) / 1'000'000, kLimitMs + 5000);
  }
}

TEST_CASE("the last vCPU and those between start when the first one wakes them") {
  if (!has_kvm()) return;
  constexpr uint32_t kTrampoline = 0x20000;
  // Real mode at 2000:0000: mov dx, 0x3f8; mov al, 'a'; out dx, al; lock inc byte [cs:0x100]; cli; hlt; jmp
  constexpr std::array<uint8_t, 16> kCode = {0xba, 0xf8, 0x03, 0xb0, 'a',  0xee, 0xf0, 0x2e,
                                             0xfe, 0x06, 0x00, 0x01, 0xfa, 0xf4, 0xeb, 0xfc};
  Assembler code;
  for (uint32_t at = 0; at < kCode.size(); at += 4) {
    code.store(kTrampoline + at, kCode[at] | kCode[at + 1] << 8 | kCode[at + 2] << 16 |
                                     static_cast<uint32_t>(kCode[at + 3]) << 24);
  }
  // To all but this one: INIT, then SIPI (Intel SDM 3A, 10.6.1).
  code.store(kLocalApicAddr + 0xf0, 0x1ff).store(kLocalApicAddr + 0x300, 0xc4500);
  code.store(kLocalApicAddr + 0x300, 0xc4600 | kTrampoline >> 12);
  VmConfig config = tiny_vm(code.await_byte(kTrampoline + 0x100, kMaxVcpus - 1).power_off());
  config.vcpu_count = kMaxVcpus;
  const Outcome outcome = run(std::move(config));
  CHECK_EQ(outcome.exit.end, VmEnd::power_off);
  CHECK_EQ(outcome.console, std::string(kMaxVcpus - 1, 'a'));
}

static reactor::Task<> destroy_with_pending_access(Host& host, VmConfig config) {
  auto vm = (co_await Vm::start(*host.reactor, host.threads, std::move(config))).value();
  // The loop stands still, so the access that the guest is in can have no answer.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  co_await vm->destroy();
  CHECK_EQ(vm->exit().end, VmEnd::killed);
  co_await vm->destroy();  // is done already
}

TEST_CASE("a VM is destroyed while its vCPU waits for a register") {
  if (!has_kvm()) return;
  Host host;
  virtio::Rng rng;
  for (int round = 0; round < 5; ++round) {
    Assembler code;
    const size_t again = code.size();
    VmConfig config = tiny_vm(code.load(virtio_window(0).addr).jump_to(again));
    config.devices = {&rng};
    host.reactor->run(destroy_with_pending_access(host, std::move(config)));
  }
}

TEST_CASE("a guest that floods its console fills the ring and nothing else") {
  if (!has_kvm()) return;
  Assembler code;
  const size_t again = code.size();
  VmConfig config = tiny_vm(code.print("0123456789").jump_to(again));
  config.console_bytes = 100;
  const Outcome outcome = run(std::move(config), 200);
  CHECK_EQ(outcome.exit.end, VmEnd::killed);
  CHECK_EQ(outcome.console.size(), 100);
}

}  // namespace lambdo::kvm
