#include "kvm/vm_owner.h"

#include <utility>

#include "base/check.h"
#include "base/syscalls.h"

namespace lambdo::kvm {

VmOwner::VmOwner(reactor::Mailbox& mailbox, VcpuThreads& threads, const VmConfig& config, Console& console,
                 VmOwnerClient& client)
    : mailbox_(mailbox),
      threads_(threads),
      config_(config),
      console_(console),
      client_(client),
      start_ns_(sys::monotonic_ns()) {}

VmOwner::~VmOwner() {
  CHECK(machine_ == nullptr);
}

void VmOwner::start(Fd kvm, std::vector<uint16_t> queue_counts) {
  kvm_ = std::move(kvm);
  queue_counts_ = std::move(queue_counts);
  threads_.run([this] { run(); }, [this](Error error) { refuse(std::move(error)); });
}

int64_t VmOwner::since_start_us() const {
  return (sys::monotonic_ns() - start_ns_) / 1000;
}

// ---- the owner thread: the machine's life from its first descriptor to its last

void VmOwner::run() {
  timings_.thread_us = since_start_us();
  if (Result<> built = build(); !built) {
    machine_.reset();
    return refuse(std::move(built).error());
  }
  run_vcpus();
  mailbox_.post([this] { client_.machine_stopped(*first_reason_); });
  teardown_ordered_.wait(0);
  bus_.reset();
  machine_.reset();
  // machine_gone() may destroy this VmOwner as soon as the reactor runs it: nothing is touched after this
  // post.
  mailbox_.post([this] { client_.machine_gone(); });
}

Result<> VmOwner::build() {
  machine_ = TRY(Machine::create(
      kvm_,
      {.ram_bytes = config_.ram_bytes, .vcpu_count = config_.vcpu_count, .queue_counts = queue_counts_}));
  kvm_.reset();
  timings_.machine = machine_->timings();
  timings_.create_us = since_start_us() - timings_.thread_us;
  TRY(machine_->boot(config_.source));
  timings_.load_us = since_start_us() - timings_.thread_us - timings_.create_us;
  VmBus::Host& host = *this;
  bus_.emplace(console_, machine_->serial_interrupt(), machine_->devices(), host);
  return {};
}

void VmOwner::refuse(Error error) {
  mailbox_.post([this, error = std::move(error)]() mutable { client_.machine_refused(std::move(error)); });
}

void VmOwner::run_vcpus() {
  running_vcpus_ = config_.vcpu_count;
  timings_.first_run_us = since_start_us();
  // Before any vCPU runs: so the reactor has attached the devices when the first register access reaches it.
  mailbox_.post([this] { client_.machine_started(*machine_, timings_); });
  start_secondary_vcpus();
  run_vcpu(0);
  wait_for_vcpus();
}

void VmOwner::start_secondary_vcpus() {
  for (uint32_t index = 1; index < config_.vcpu_count; ++index) {
    threads_.run([this, index] { run_vcpu(index); },
                 [this](const Error& error) {
                   stop({.end = VmEnd::failed, .detail = error.message});
                   vcpu_stopped();
                 });
  }
}

void VmOwner::wait_for_vcpus() {
  std::unique_lock lock(stop_mutex_);
  all_stopped_.wait(lock, [&] { return running_vcpus_ == 0; });
}

// ---- vCPU threads

void VmOwner::run_vcpu(uint32_t index) {
  if (auto exit = machine_->vcpu(index).run(*bus_)) stop(std::move(*exit));
  vcpu_stopped();
}

void VmOwner::vcpu_stopped() {
  // The condition is notified under the lock: once the lock is free, the owner thread may go on and all of
  // this may be gone.
  const std::lock_guard lock(stop_mutex_);
  if (--running_vcpus_ == 0) all_stopped_.notify_all();
}

void VmOwner::ask_reactor(RegisterAccess& access) {
  mailbox_.post([this, &access] {
    client_.access_register(access.request());
    access.answer();
  });
}

// ---- any thread

void VmOwner::stop(VmExit reason) {
  {
    // Only the first reason is kept: the exits of vCPUs that are being stopped would hide it.
    const std::lock_guard lock(stop_mutex_);
    if (!first_reason_) first_reason_ = std::move(reason);
  }
  for (uint32_t index = 0; index < config_.vcpu_count; ++index) {
    machine_->vcpu(index).stop();
    bus_->abandon_access(index);
  }
}

void VmOwner::tear_down() {
  // machine_gone() runs on the reactor too, so the owner outlives notify_one().
  teardown_ordered_ = 1;
  teardown_ordered_.notify_one();
}

}  // namespace lambdo::kvm
