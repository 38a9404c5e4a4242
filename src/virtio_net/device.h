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
#include "virtio_net/counters.h"
#include "virtio_net/options.h"
#include "virtio_net/path_host.h"
#include "virtio_net/receive_path.h"
#include "virtio_net/tap.h"
#include "virtio_net/transmit_path.h"

namespace lambdo::virtio_net {

/// The network device (virtio 1.2, 5.1) with one pair of queues: frames between a guest's driver and a TAP.
///
/// The device owns the TAP, knows the link, and runs a TransmitPath and a ReceivePath, one a queue, from one
/// coroutine. Frames move between guest memory and the TAP in one copy, by io_uring: those of the guest in
/// batches, and those for it by a read that waits in the kernel with the guest's own buffers. Where frames
/// come fast they are also read by calls that never wait, which costs as much and holds no buffer. What one
/// side cannot take stays on the other side: in the guest's queue, or in the TAP's, which drops what is too
/// much. The header that the kernel is given in front of a frame is made here of what was checked, in memory
/// that the guest cannot change. docs/decisions/0014-network-device.md argues it.
class Net final : public virtio::Device, private PathHost {
 public:
  static constexpr uint16_t kRxQueue = 0;
  static constexpr uint16_t kTxQueue = 1;

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
  [[nodiscard]] bool is_link_up() const override { return link_ == Link::up; }
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

  /// From the first activation on the device's coroutine runs: serve().
  enum class Phase : uint8_t {
    unused,    ///< no driver ever ran the device
    serving,   ///< also between a reset and the next activation
    stopping,  ///< operations that hold the TAP and guest memory end
    stopped,
  };
  enum class Link : uint8_t {
    down,  ///< the host wants it so
    up,
    tap_gone,  ///< down for good
  };

  // PathHost, for the paths.
  [[nodiscard]] bool may_receive() const override;
  void tap_lost() override;
  void wake() override { work_due_.notify_one(); }

  void tell_link();
  [[nodiscard]] bool is_due() const;
  Result<> run_paths();
  Result<> finish_paths();
  void deactivate_paths();
  reactor::Task<> serve();
  reactor::Task<> apply_offloads();

  reactor::Reactor& reactor_;
  reactor::BlockingPool& pool_;
  const Tap tap_;
  const NetOptions options_;
  std::optional<virtio::ActivationContext> context_;
  Counters counters_;
  Phase phase_ = Phase::unused;
  Link link_ = Link::up;
  bool is_setting_offloads_ = false;          // apply_offloads() runs
  std::optional<uint64_t> applied_offloads_;  // features that the TAP was last told
  TransmitPath transmit_;
  ReceivePath receive_;
  reactor::Event work_due_;  // serve() waits for it
  reactor::Scope scope_;
};

}  // namespace lambdo::virtio_net
