#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/error.h"
#include "base/mac_address.h"
#include "reactor/blocking_pool.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"
#include "reactor/task.h"
#include "virtio/device.h"
#include "virtio/queue.h"
#include "virtio/work_budget.h"
#include "virtio_net/alarm.h"
#include "virtio_net/counters.h"
#include "virtio_net/frame.h"
#include "virtio_net/frame_read.h"
#include "virtio_net/rate_limit.h"
#include "virtio_net/receive_window.h"
#include "virtio_net/tap.h"
#include "virtio_net/write_batch.h"

namespace lambdo::virtio_net {

struct NetOptions {
  /// Unicast. Frames that the guest sends from another address are dropped.
  MacAddress mac;
  uint16_t mtu = 1500;  ///< from kMinMtu on
  /// Whether checksums and segmentation are offered to the guest.
  bool offloads = true;
  /// Without a limit unless said. A segmented frame counts as the packets that it becomes, and its own bytes.
  DirectionLimits transmit_limits;  ///< from the guest
  DirectionLimits receive_limits;   ///< to the guest
};

/// The network device (virtio 1.2, 5.1) with one pair of queues: frames between a guest's driver and a TAP.
///
/// Frames move between guest memory and the TAP in one copy, by io_uring: those of the guest in batches, and
/// those for it by a read that waits in the kernel with the guest's own buffers. Where frames come fast they
/// are also read by calls that never wait, which costs as much and holds no buffer. What one side cannot take
/// stays on the other side: in the guest's queue, or in the TAP's, which drops what is too much. What the
/// kernel is given in front of a frame is made here of what was checked, in memory that the guest cannot
/// change. docs/decisions/0014-network-device.md argues it.
class Net final : public virtio::Device, private Waiting {
 public:
  static constexpr uint16_t kRxQueue = 0;
  static constexpr uint16_t kTxQueue = 1;
  /// Each way. The time counts because a frame passes the host's network stack while the loop waits.
  static constexpr virtio::WorkLimits kWakeUpLimits = {.rounds = 256, .bytes = 2 << 20, .time_ns = 1'000'000};
  /// How long a frame waits for the guest to offer as much as the longest one needs. Then it gets what there
  /// is.
  static constexpr int64_t kShortageNs = 1'000'000;
  /// A frame that comes this soon after the last one is part of a flood.
  static constexpr int64_t kFloodNs = 20'000;

  /// What survives a snapshot. Plain; untrusted until restore() agreed. Rate limits start anew.
  struct State {
    MacAddress mac;
    uint16_t mtu = 0;
    bool is_link_up = true;
    friend bool operator==(const State&, const State&) = default;
  };

  /// `reactor` and `pool`, where the TAP's offloads are set, outlive the device.
  Net(reactor::Reactor& reactor, reactor::BlockingPool& pool, Tap tap, const NetOptions& options);
  Net(const Net&) = delete;
  Net& operator=(const Net&) = delete;
  /// stop() must have returned where the device ever ran.
  ~Net() override;

  /// Whether the guest has a network now. A change is told to the driver. While it is down frames of the
  /// guest are dropped, and those for it stay in the TAP.
  void set_link(bool is_up);
  /// Also down where the TAP is gone, for good.
  [[nodiscard]] bool is_link_up() const { return is_link_up_ && !is_tap_gone_; }
  [[nodiscard]] const MacAddress& mac() const { return options_.mac; }
  [[nodiscard]] const Counters& counters() const { return counters_; }

  /// No more frames are taken; waits for the io_uring operations that hold the TAP and guest memory, which is
  /// not touched afterwards. Of an active device the queues are whole then, to be saved: no chain is out.
  reactor::Task<> stop();

  [[nodiscard]] State save() const;
  /// Into a device that never ran. invalid_argument where a driver that saw the state could not go on with
  /// these options. The device keeps an address of its own: whoever restores a guest elsewhere tells it its
  /// new one.
  Result<> restore(const State& saved);

  [[nodiscard]] uint32_t type() const override { return 1; }
  [[nodiscard]] uint64_t features() const override;
  [[nodiscard]] std::span<const uint16_t> queue_max_sizes() const override { return kQueueMaxSizes; }
  void read_config(uint64_t offset, std::span<std::byte> to) const override;
  Result<> activate(const virtio::ActivationContext& context) override;
  Result<virtio::Work> queue_notified(uint16_t queue) override;
  void reset() override;

 private:
  static constexpr std::array<uint16_t, 2> kQueueMaxSizes = {256, 256};
  /// Whether the guest offers enough for the next frame.
  enum class Room : uint8_t { enough, look_again, wait };

  [[nodiscard]] virtio::Queue& queue(uint16_t index) { return context_->queues[index]; }
  [[nodiscard]] bool has(uint64_t features) const { return (context_->features & features) == features; }

  // transmit.cc: from the guest.
  Result<virtio::Work> take_frames();
  std::optional<Drop> transmit(const virtio::DescriptorChain& chain, virtio::WorkBudget& budget);
  Result<> finish_batch();
  void count_written(const WriteBatch::Frame& frame);

  // receive.cc: to the guest.
  [[nodiscard]] bool can_receive() const;
  [[nodiscard]] uint64_t longest_bytes() const;
  Result<virtio::Work> give_frames();
  Result<virtio::Work> fill_buffers(virtio::Queue& frames);
  Result<Room> find_room(virtio::Queue& frames);
  Result<> finish_read(virtio::Queue& frames, virtio::WorkBudget& budget);
  Result<> read_now(virtio::Queue& frames, virtio::WorkBudget& budget);
  Result<> take_frame(virtio::Queue& frames, virtio::WorkBudget& budget, size_t read_bytes);
  Result<> deliver(virtio::Queue& frames, uint64_t frame_bytes);

  // device.cc: the loop.
  void read_ended() override;
  void writes_ended() override;
  void alarm_rang(const Alarm& alarm) override;
  void lose_tap();
  void tell_link();
  void wake();
  [[nodiscard]] bool is_due() const;
  Result<> work();
  Result<> settle();
  void let_go();
  reactor::Task<> serve();
  reactor::Task<> apply_offloads();

  reactor::Reactor& reactor_;
  reactor::BlockingPool& pool_;
  const Tap tap_;
  const NetOptions options_;
  std::optional<virtio::ActivationContext> context_;
  Counters counters_;
  RateLimiter transmit_limiter_;
  RateLimiter receive_limiter_;
  ReceiveWindow window_;

  // Why frames of the guest's wait, if they do.
  Alarm transmit_pause_;
  bool is_transmit_due_ = false;  // for the loop, not for a notification
  // Why frames for it wait.
  bool is_starved_ = false;     // of buffers, until the driver notifies or `shortage_` ends
  bool was_patient_ = false;    // `shortage_` ended: a frame gets what there is
  bool is_read_short_ = false;  // it waits with less than the longest frame needs
  bool is_flooded_ = false;     // frames are read without waiting
  int64_t read_armed_ns_ = 0;
  bool has_failed_ = false;  // the driver broke the rules: nothing until its reset
  bool is_setting_offloads_ = false;
  Alarm receive_pause_;
  Alarm shortage_;

  std::optional<uint64_t> applied_offloads_;  // features that the TAP was last told
  bool is_link_up_ = true;
  bool is_tap_gone_ = false;
  bool is_stopping_ = false;
  bool is_serving_ = false;
  FrameTarget target_;
  FrameRead read_;
  WriteBatch batch_;
  reactor::Event work_due_;  // serve() waits for it
  reactor::Scope scope_;
};

}  // namespace lambdo::virtio_net
