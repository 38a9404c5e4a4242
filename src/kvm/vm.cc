#include "kvm/vm.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/syscalls.h"

namespace lambdo::kvm {

namespace {

Result<> check(const VmConfig& config) {
  const auto bad = [](std::string text) { return fail(Code::invalid_argument, std::move(text)); };
  if (config.vcpu_count == 0 || config.vcpu_count > kMaxVcpus) {
    return bad(std::to_string(config.vcpu_count) + " vCPUs: must be 1 to " + std::to_string(kMaxVcpus));
  }
  if (config.kernel == nullptr) return bad("a VM without a kernel");
  if (config.initrd != nullptr && !config.token) return bad("an initramfs without its token");
  if (config.devices.size() > kMaxVirtioDevices) {
    return bad(std::to_string(config.devices.size()) + " virtio devices: there is room for " +
               std::to_string(kMaxVirtioDevices));
  }
  TRY(RamLayout::create(config.ram_bytes));
  return {};
}

}  // namespace

Vm::Vm(reactor::Reactor& reactor, VcpuThreads& threads, VmConfig config)
    : reactor_(reactor),
      threads_(threads),
      config_(std::move(config)),
      start_ns_(sys::monotonic_ns()),
      console_(config_.console_bytes),
      scope_(reactor),
      decided_(reactor),
      ended_(reactor),
      gone_(reactor) {
  // Here, because devices are the reactor's.
  for (const virtio::Device* device : config_.devices) {
    queue_counts_.push_back(static_cast<uint16_t>(device->queue_max_sizes().size()));
  }
}

Vm::~Vm() {
  CHECK(machine_ == nullptr);
}

reactor::Task<Result<std::unique_ptr<Vm>>> Vm::start(reactor::Reactor& reactor, VcpuThreads& threads,
                                                     VmConfig config) {
  CO_TRY(check(config));
  std::unique_ptr<Vm> vm(new Vm(reactor, threads, std::move(config)));
  // Here, because the VM's own threads open nothing.
  vm->device_ = CO_TRY(open_kvm());
  threads.run([self = vm.get()] { self->own_machine(); },
              [self = vm.get()](Error error) { self->report_start(std::unexpected(std::move(error))); });
  (void)co_await vm->decided_.wait();
  if (!vm->start_result_) co_return std::unexpected(std::move(vm->start_result_).error());
  co_return vm;
}

// ---- the owner thread: the VM's life from its first descriptor to its last

void Vm::own_machine() {
  timings_.thread_us = (sys::monotonic_ns() - start_ns_) / 1000;
  if (Result<> built = build_machine(); !built) {
    serial_.reset();
    machine_.reset();
    report_start(std::move(built));
    return;
  }
  start_secondary_vcpus();
  timings_.first_run_us = (sys::monotonic_ns() - start_ns_) / 1000;
  // The reactor gets this letter before any register access of the guest's: devices are there by then.
  reactor_.mailbox().post([this] { attach_devices(); });
  run_vcpu(0);
  await_vcpus();
  reactor_.mailbox().post([this] {
    exit_ = *first_end_;
    ended_.set();
  });
  teardown_wanted_.wait(0);
  serial_.reset();
  machine_.reset();
  // After this letter the VM may be gone at any moment.
  reactor_.mailbox().post([this] { gone_.set(); });
}

/// The VM could not be started, or not here: on any thread, and the last that this does there.
void Vm::report_start(Result<> result) {
  reactor_.mailbox().post([this, result = std::move(result)]() mutable {
    start_result_ = std::move(result);
    decided_.set();
  });
}

Result<> Vm::build_machine() {
  machine_ = TRY(Machine::create({.device = &device_,
                                  .ram_bytes = config_.ram_bytes,
                                  .vcpu_count = config_.vcpu_count,
                                  .kernel = config_.kernel.get(),
                                  .initrd = config_.initrd.get(),
                                  .token = config_.token ? &*config_.token : nullptr,
                                  .command_line = config_.command_line,
                                  .queue_counts = queue_counts_}));
  device_.reset();
  serial_.emplace(console_, machine_->serial_interrupt());
  timings_.machine = machine_->timings();
  const MachineTimings& took = timings_.machine;
  timings_.create_us = took.vm_us + took.memory_us + took.devices_us + took.vcpus_us;
  timings_.load_us = took.load_us;
  return {};
}

void Vm::start_secondary_vcpus() {
  running_vcpus_ = config_.vcpu_count;
  for (uint32_t index = 1; index < config_.vcpu_count; ++index) {
    threads_.run([this, index] { run_vcpu(index); },
                 [this](const Error& error) {
                   end({.end = VmEnd::failed, .detail = error.message});
                   vcpu_stopped();
                 });
  }
}

void Vm::run_vcpu(uint32_t index) {
  if (auto exit = machine_->vcpu(index).run(*this)) end(std::move(*exit));
  vcpu_stopped();
}

void Vm::vcpu_stopped() {
  // Told under the lock: once it is free, the owner may go on and all of this may be gone.
  const std::lock_guard lock(end_mutex_);
  if (--running_vcpus_ == 0) all_stopped_.notify_all();
}

void Vm::await_vcpus() {
  std::unique_lock lock(end_mutex_);
  all_stopped_.wait(lock, [&] { return running_vcpus_ == 0; });
}

/// Stops all vCPUs; the first reason counts. On any thread, while the machine is there.
void Vm::end(VmExit exit) {
  {
    const std::lock_guard lock(end_mutex_);
    if (!first_end_) first_end_ = std::move(exit);
  }
  for (uint32_t index = 0; index < config_.vcpu_count; ++index) {
    machine_->vcpu(index).stop();
    // After stop(): either the vCPU sees that it is to stop before it waits, or it is woken here.
    uint32_t waiting = PendingAccess::kWaiting;
    accesses_[index].state.compare_exchange_strong(waiting, PendingAccess::kAbandoned);
    accesses_[index].state.notify_one();
  }
}

// ---- accesses of the guest, on vCPU threads

void Vm::read_port(uint16_t port, std::span<std::byte> to) {
  // Wider accesses are as many of one byte (Intel SDM 1, 19.3), the lowest port first.
  for (std::byte& byte : to) byte = static_cast<std::byte>(read_port_byte(port++));
}

void Vm::write_port(uint16_t port, std::span<const std::byte> from) {
  for (const std::byte byte : from) write_port_byte(port++, std::to_integer<uint8_t>(byte));
}

uint8_t Vm::read_port_byte(uint16_t port) {
  if (port >= kSerialPort && port < kSerialPort + kSerialPortCount) return serial_->read(port - kSerialPort);
  // The keyboard controller's status, input buffer empty, for those who wait before they ask for a reset.
  if (port == kResetPort) return 0;
  if (port == kSleepControlPort || port == kSleepStatusPort) return 0;
  return 0xff;
}

void Vm::write_port_byte(uint16_t port, uint8_t value) {
  if (port >= kSerialPort && port < kSerialPort + kSerialPortCount) {
    serial_->write(port - kSerialPort, value);
  } else if (port == kResetPort && value == kResetValue) {
    end({.end = VmEnd::reset, .detail = "reset port"});
  } else if (port == kSleepControlPort && value == kPowerOffValue) {
    end({.end = VmEnd::power_off, .detail = "sleep control register"});
  }
}

void Vm::read_mmio(uint32_t vcpu, uint64_t addr, std::span<std::byte> to) {
  std::ranges::fill(to, std::byte{0xff});  // what nobody answers
  access_device(vcpu, addr, to, false);
}

void Vm::write_mmio(uint32_t vcpu, uint64_t addr, std::span<const std::byte> from) {
  std::array<std::byte, 8> copy{};
  std::ranges::copy(from, copy.begin());
  access_device(vcpu, addr, std::span(copy).first(from.size()), true);
}

void Vm::access_device(uint32_t vcpu, uint64_t addr, std::span<std::byte> data, bool is_write) {
  if (addr < kVirtioMmioAddr) return;
  const uint64_t device = (addr - kVirtioMmioAddr) / kVirtioMmioBytes;
  const uint64_t offset = (addr - kVirtioMmioAddr) % kVirtioMmioBytes;
  if (device >= config_.devices.size() || offset + data.size() > kVirtioMmioBytes) return;
  virtio::InterruptStatus& interrupts = *machine_->devices()[device].interrupt_status;
  if (is_write ? interrupts.write(offset, data) : interrupts.read(offset, data)) return;
  PendingAccess& access = accesses_[vcpu];
  access.device = static_cast<uint32_t>(device);
  access.offset = offset;
  access.is_write = is_write;
  access.len_bytes = data.size();
  std::ranges::copy(data, access.data.begin());
  access.state = PendingAccess::kWaiting;
  // One access a vCPU at a time: a guest that does nothing else gets one of them per turn of the loop.
  reactor_.mailbox().post([this, &access] { serve(access); });
  while (access.state == PendingAccess::kWaiting && !machine_->vcpu(vcpu).stopping()) {
    access.state.wait(PendingAccess::kWaiting);
  }
  // An abandoned one may still be served, so its data is not looked at.
  if (access.state != PendingAccess::kAnswered || is_write) return;
  std::ranges::copy(std::span(access.data).first(data.size()), data.begin());
}

// ---- on the reactor

void Vm::attach_devices() {
  for (uint32_t index = 0; index < config_.devices.size(); ++index) {
    slots_.push_back(std::make_unique<DeviceSlot>(reactor_, *config_.devices[index], memory(),
                                                  machine_->devices()[index]));
    slots_.back()->start(scope_);
  }
  decided_.set();
}

void Vm::serve(PendingAccess& access) {
  const auto data = std::span(access.data).first(access.len_bytes);
  if (access.is_write) {
    slots_[access.device]->write(access.offset, data);
  } else {
    slots_[access.device]->read(access.offset, data);
  }
  access.state = PendingAccess::kAnswered;
  access.state.notify_one();
}

reactor::Task<> Vm::destroy() {
  if (!std::exchange(destroying_, true)) {
    end({.end = VmEnd::killed, .detail = {}});
    (void)co_await ended_.wait();
    scope_.cancel();
    co_await scope_.join();
    slots_.clear();  // resets the devices, which then forget the memory that goes now
    teardown_wanted_ = 1;
    teardown_wanted_.notify_one();
  }
  (void)co_await gone_.wait();
}

}  // namespace lambdo::kvm
