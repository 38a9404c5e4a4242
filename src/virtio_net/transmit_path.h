#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "reactor/reactor.h"
#include "virtio/chain.h"
#include "virtio/device.h"
#include "virtio/queue.h"
#include "virtio/work_budget.h"
#include "virtio_net/alarm.h"
#include "virtio_net/counters.h"
#include "virtio_net/options.h"
#include "virtio_net/path_host.h"
#include "virtio_net/rate_limit.h"
#include "virtio_net/tap.h"
#include "virtio_net/write_batch.h"

namespace lambdo::virtio_net {

/// Frames from the guest's transmit queue to the TAP: checked, limited in rate, and written in batches. What
/// the TAP or the limit does not take now stays in the queue.
///
///     inactive --activate()--> idle --driver notified--> [frames are taken] <--run()-- due
///                                                                |
///         idle    <-- the queue is empty ------------------------+
///         writing <-- a batch was submitted ---------------------+      writing --last write ended--> due
///         paused  <-- the rate limit is reached -----------------+      paused  --alarm-------------> due
///         due     <-- the budget of the wake-up is spent --------+
///
/// Where the rate limit is reached while a batch is filled, the path is writing, then due, then paused.
/// deactivate() leads from everywhere to inactive.
class TransmitPath final : private Alarm::Listener, private WriteBatch::Listener {
 public:
  /// All outlive the path.
  TransmitPath(reactor::Reactor& reactor, PathHost& host, const Tap& tap, const NetOptions& options,
               DirectionCounters& counters);
  TransmitPath(const TransmitPath&) = delete;
  TransmitPath& operator=(const TransmitPath&) = delete;
  ~TransmitPath() = default;

  /// A driver runs, and agreed to `features`. `queue` is valid until deactivate().
  void activate(virtio::Queue& queue, uint64_t features);
  /// The driver is gone, or broke the rules: neither its queue nor its memory is touched any more. Writes
  /// that the kernel holds complete later; their results are dropped.
  void deactivate();

  /// The driver notified the queue, or Work::more was answered before.
  Result<virtio::Work> queue_notified();
  /// Whether run() has something to do.
  [[nodiscard]] bool is_due() const { return phase_ == Phase::due; }
  /// Takes frames where is_due(). After an error, which is the driver's fault, the owner calls deactivate().
  Result<> run();

  /// Cancels the writes that wait for room in the TAP; they end soon.
  void cancel() { batch_.cancel(); }
  /// Whether the kernel holds writes.
  [[nodiscard]] bool is_busy() const { return batch_.is_busy(); }
  /// After the last write: returns the last batch's chains to the driver, and takes no more.
  Result<> finish();
  /// Disarms the timer.
  void clear_alarm() { alarm_.clear(); }

 private:
  enum class Phase : uint8_t {
    inactive,  ///< there is no driver
    idle,      ///< the queue was empty: the driver notifies
    writing,   ///< the kernel writes a batch; its end makes the path due
    paused,    ///< the rate limit holds frames back; the alarm makes the path due
    due,       ///< the device's loop runs the path
  };

  void alarm_rang() override;
  void writes_ended() override;

  Result<virtio::Work> take_frames();
  Result<virtio::Work> fill_batch();
  std::optional<Drop> send(const virtio::DescriptorChain& chain, virtio::WorkBudget& budget);
  Result<> finish_batch();
  void count_written(const WriteBatch::Frame& frame);

  reactor::Reactor& reactor_;
  PathHost& host_;
  const Tap& tap_;
  const NetOptions& options_;
  DirectionCounters& counters_;
  virtio::Queue* queue_ = nullptr;
  uint64_t features_ = 0;
  Phase phase_ = Phase::inactive;
  RateLimiter limiter_;
  Alarm alarm_;  // set while the rate limit holds frames back, also while a batch is written
  WriteBatch batch_;
};

}  // namespace lambdo::virtio_net
