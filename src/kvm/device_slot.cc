#include "kvm/device_slot.h"

#include <sys/eventfd.h>

#include "base/log.h"
#include "reactor/operations.h"
#include "reactor/timer.h"

namespace lambdo::kvm {

DeviceSlot::DeviceSlot(reactor::Reactor& reactor, virtio::Device& device, const virtio::GuestMemory& memory,
                       const DeviceLines& lines)
    : reactor_(reactor),
      lines_(lines),
      device_type_(device.type()),
      transport_(device, memory, *this),
      has_work_(reactor) {}

void DeviceSlot::start(reactor::Scope& scope) {
  for (uint16_t queue = 0; queue < lines_.notified.size(); ++queue) {
    scope.spawn(serve_queue(queue, scope.token()));
  }
  scope.spawn(go_on(scope.token()));
}

void DeviceSlot::read(uint64_t offset, std::span<std::byte> to) {
  transport_.read(offset, to);
}

void DeviceSlot::write(uint64_t offset, std::span<const std::byte> from) {
  transport_.write(offset, from);
  look_for_work();
}

void DeviceSlot::raise_interrupt() {
  ::eventfd_write(lines_.interrupt.get(), 1);
}

void DeviceSlot::device_failed(const Error& error) {
  if (++failures_ > kMaxLoggedFailures) return;
  log::warning("virtio device failed, its driver must reset it",
               {{"device_type", device_type_}, {"error", error.message}});
}

reactor::Task<> DeviceSlot::serve_queue(uint16_t queue, reactor::CancelToken token) {
  std::array<std::byte, sizeof(eventfd_t)> count{};  // however many notifications there were
  while (co_await reactor::ReadOp(reactor_, lines_.notified[queue].get(), count, token)) {
    transport_.notify(queue);
    look_for_work();
  }
}

void DeviceSlot::look_for_work() {
  if (transport_.has_work()) has_work_.set();
}

/// Wakes devices that stopped at their limit, once a turn.
reactor::Task<> DeviceSlot::go_on(reactor::CancelToken token) {
  while (co_await has_work_.wait(token)) {
    has_work_.clear();
    // A moment that has passed: the next turn, after what others have waiting.
    if (!co_await reactor::SleepOp::until(reactor_, 0, token)) co_return;
    transport_.resume();
    look_for_work();
  }
}

}  // namespace lambdo::kvm
