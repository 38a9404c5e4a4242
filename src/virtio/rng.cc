#include "virtio/rng.h"

#include <algorithm>

#include "base/check.h"
#include "base/syscalls.h"

namespace lambdo::virtio {

Result<> Rng::activate(const ActivationContext& context) {
  context_.emplace(context);
  return {};
}

/// Random bytes into `chain`, at most kMaxRequestBytes; returns how many.
static Result<uint32_t> fill(const DescriptorChain& chain) {
  // 5.4.6.1: the driver's buffers are for the device to write.
  if (chain.readable_bytes() != 0) {
    return fail(Code::invalid_argument, "entropy request has device-readable bytes");
  }
  size_t filled_bytes = 0;
  for (const Buffer& buffer : chain.writable()) {
    const size_t part_bytes = std::min<size_t>(buffer.len_bytes, Rng::kMaxRequestBytes - filled_bytes);
    TRY(sys::random_bytes(buffer.bytes().first(part_bytes)));
    filled_bytes += part_bytes;
  }
  return static_cast<uint32_t>(filled_bytes);
}

Result<Work> Rng::serve(Queue& queue) {
  WorkBudget budget(kWakeUpLimits);
  queue.disable_notifications();
  while (budget.begin_round()) {
    const auto chain = TRY(queue.pop());
    if (!chain) {
      if (!queue.enable_notifications()) return Work::drained;
      continue;
    }
    const uint32_t len_bytes = TRY(fill(*chain));
    TRY(queue.push_used(chain->head(), len_bytes));
    budget.spend(len_bytes);
  }
  return Work::more;
}

Result<Work> Rng::queue_notified(uint16_t index) {
  CHECK(context_.has_value() && index < context_->queues.size());
  Queue& queue = context_->queues[index];
  const Work work = TRY(serve(queue));
  if (queue.needs_notification()) context_->interrupt.signal_used(index);
  return work;
}

}  // namespace lambdo::virtio
