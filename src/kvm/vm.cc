#include "kvm/vm.h"

#include <utility>

#include "base/check.h"

namespace lambdo::kvm {

Vm::Vm(reactor::Reactor& reactor, VcpuThreads& threads, VmConfig config)
    : reactor_(reactor),
      config_(std::move(config)),
      console_(config_.console_bytes),
      owner_(reactor.mailbox(), threads, config_, console_, *this),
      scope_(reactor),
      start_decided_(reactor),
      ended_(reactor),
      gone_(reactor) {}

Vm::~Vm() {
  CHECK(machine_ == nullptr);
}

std::vector<uint16_t> Vm::queue_counts() const {
  std::vector<uint16_t> counts;
  for (const virtio::Device* device : config_.devices) {
    counts.push_back(static_cast<uint16_t>(device->queue_max_sizes().size()));
  }
  return counts;
}

reactor::Task<Result<std::unique_ptr<Vm>>> Vm::start(reactor::Reactor& reactor, VcpuThreads& threads,
                                                     VmConfig config) {
  CO_TRY(check(config));
  std::unique_ptr<Vm> vm(new Vm(reactor, threads, std::move(config)));
  Fd kvm = CO_TRY(open_kvm());
  vm->owner_.start(std::move(kvm), vm->queue_counts());
  (void)co_await vm->start_decided_.wait();
  if (!vm->start_result_) co_return std::unexpected(std::move(vm->start_result_).error());
  co_return vm;
}

void Vm::machine_started(Machine& machine, const VmTimings& timings) {
  machine_ = &machine;
  timings_ = timings;
  for (uint32_t index = 0; index < config_.devices.size(); ++index) {
    slots_.push_back(
        std::make_unique<DeviceSlot>(reactor_, *config_.devices[index], memory(), machine.devices()[index]));
    slots_.back()->start(scope_);
  }
  start_decided_.set();
}

void Vm::machine_refused(Error error) {
  start_result_ = std::unexpected(std::move(error));
  start_decided_.set();
}

void Vm::access_register(RegisterRequest& request) {
  DeviceSlot& slot = *slots_[request.device];
  if (request.is_write) {
    slot.write(request.offset, request.data());
  } else {
    slot.read(request.offset, request.data());
  }
}

void Vm::machine_stopped(const VmExit& exit) {
  exit_ = exit;
  ended_.set();
}

void Vm::machine_gone() {
  gone_.set();
}

reactor::Task<> Vm::destroy() {
  if (!std::exchange(destroying_, true)) {
    owner_.stop({.end = VmEnd::killed, .detail = {}});
    (void)co_await ended_.wait();
    scope_.cancel();
    co_await scope_.join();
    slots_.clear();  // resets the devices, which then forget the memory that goes now
    machine_ = nullptr;
    owner_.tear_down();
  }
  (void)co_await gone_.wait();
}

}  // namespace lambdo::kvm
