#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "reactor/reactor.h"
#include "virtio/queue.h"
#include "virtio/work_budget.h"
#include "virtio_net/alarm.h"
#include "virtio_net/counters.h"
#include "virtio_net/frame_read.h"
#include "virtio_net/options.h"
#include "virtio_net/path_host.h"
#include "virtio_net/rate_limit.h"
#include "virtio_net/receive_window.h"
#include "virtio_net/tap.h"

namespace lambdo::virtio_net {

/// Frames from the TAP into the guest's receive queue: one read that waits in the kernel with the guest's own
/// buffers, or, where frames come fast, calls that never wait. What the guest or the limit does not take now
/// stays in the TAP.
///
///     inactive --activate()--> due --run()--> [the next frame is asked for] <--run()-- due_short
///                                                         |
///     due           <-- the budget is spent --------------+
///     paused        <-- the rate limit is reached --------+      paused  --alarm-----------> due
///     starved       <-- the guest has too few buffers ----+      starved --driver notified-> due
///     reading       <-- a read is armed ------------------+      starved --alarm-----------> due_short
///     reading_short <-- a read is armed, from due_short --+
///
///     reading, reading_short --read ended--> read_ended --run()--> due, or paused
///
/// Where the driver notifies while reading_short, the read is cancelled, so that the next one gets more
/// buffers. Frames that are polled are delivered at once, and the path stays due. A due path waits while
/// PathHost::may_receive() says no. deactivate() leads from everywhere to inactive.
class ReceivePath final : private Alarm::Listener, private FrameRead::Listener {
 public:
  /// How long a frame waits for the guest to offer as much as the longest one needs. Then it gets what there
  /// is.
  static constexpr int64_t kShortageNs = 1'000'000;
  /// A frame that comes this soon after the last one is part of a flood.
  static constexpr int64_t kFloodNs = 20'000;

  /// All outlive the path.
  ReceivePath(reactor::Reactor& reactor, PathHost& host, const Tap& tap, const NetOptions& options,
              DirectionCounters& counters);
  ReceivePath(const ReceivePath&) = delete;
  ReceivePath& operator=(const ReceivePath&) = delete;
  ~ReceivePath() = default;

  /// A driver runs, and agreed to `features`. `queue` is valid until deactivate().
  void activate(virtio::Queue& queue, uint64_t features);
  /// The driver is gone, or broke the rules: neither its queue nor its memory is touched any more. A read
  /// that the kernel holds ends soon, and concerns nobody.
  void deactivate();

  /// The driver notified the queue: there may be more buffers.
  void queue_notified();
  /// Whether run() has something to do.
  [[nodiscard]] bool is_due() const;
  /// Goes on where the path is due. An error is one of the driver's: the path is to be deactivated.
  Result<> run();

  /// A read that the kernel holds ends soon, with a frame or without one.
  void cancel() { read_.cancel(); }
  /// Whether the kernel holds a read.
  [[nodiscard]] bool is_busy() const { return read_.is_armed(); }
  /// No timer is left behind.
  void clear_alarm() { alarm_.clear(); }

 private:
  enum class Phase : uint8_t {
    inactive,       ///< there is no driver
    due,            ///< the device's loop runs the path
    due_short,      ///< the same, after a shortage: a frame gets what buffers there are
    reading,        ///< a read waits in the kernel for a frame
    reading_short,  ///< the same, with less than the longest frame needs
    read_ended,     ///< the read's result is to be looked at
    starved,        ///< of buffers, until the driver notifies or the alarm rings
    paused,         ///< until the alarm rings
  };
  /// How the next frame is read.
  enum class ReadMode : uint8_t { wait_in_kernel, poll };
  /// What the guest offers for the next frame.
  enum class Room : uint8_t {
    enough,
    some,  ///< less than the longest frame needs
    none,  ///< the phase says whether to look again
  };

  void alarm_rang() override;
  void read_ended() override;

  [[nodiscard]] bool has(uint64_t features) const { return (features_ & features) == features; }
  [[nodiscard]] bool may_read() const;
  [[nodiscard]] uint64_t longest_bytes() const;
  void pause_until(int64_t at_ns);
  Result<> read_frames();
  Result<Room> find_room();
  Result<> finish_read(virtio::WorkBudget& budget);
  Result<> read_now(virtio::WorkBudget& budget);
  Result<> take_frame(virtio::WorkBudget& budget, size_t read_bytes);
  Result<> deliver(uint64_t frame_bytes);

  reactor::Reactor& reactor_;
  PathHost& host_;
  const Tap& tap_;
  const NetOptions& options_;
  DirectionCounters& counters_;
  virtio::Queue* queue_ = nullptr;
  uint64_t features_ = 0;
  Phase phase_ = Phase::inactive;
  ReadMode mode_ = ReadMode::wait_in_kernel;
  int64_t read_armed_ns_ = 0;
  RateLimiter limiter_;
  Alarm alarm_;  // set while paused, and while starved with some buffers
  ReceiveWindow window_;
  FrameTarget target_;
  FrameRead read_;
};

}  // namespace lambdo::virtio_net
