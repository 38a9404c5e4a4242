#include "virtio_net/device.h"

#include <string>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "reactor/yield.h"

namespace lambdo::virtio_net {

using reactor::Task;
using virtio::Work;

namespace {

/// The features that are part of what a driver knows of its device for good.
constexpr uint64_t kAlwaysOffered = feature::kMtu | feature::kMac | feature::kMrgRxbuf | feature::kStatus;
constexpr uint64_t kGuestOffloads =
    feature::kGuestCsum | feature::kGuestTso4 | feature::kGuestTso6 | feature::kGuestEcn;

constexpr uint16_t kLinkUp = 1;  // VIRTIO_NET_S_LINK_UP

/// The configuration space up to the last field there is without further features (virtio 1.2, 5.1.4).
struct Config {
  std::array<uint8_t, MacAddress::kBytes> mac;
  uint16_t status;
  uint16_t max_virtqueue_pairs;  // only with VIRTIO_NET_F_MQ
  uint16_t mtu;
};
static_assert(sizeof(Config) == 12);

}  // namespace

Net::Net(reactor::Reactor& reactor, reactor::BlockingPool& pool, Tap tap, const NetOptions& options)
    : reactor_(reactor),
      pool_(pool),
      tap_(std::move(tap)),
      options_(options),
      transmit_limiter_(options.transmit_limits, reactor.now_ns()),
      receive_limiter_(options.receive_limits, reactor.now_ns()),
      transmit_pause_(reactor, *this),
      receive_pause_(reactor, *this),
      shortage_(reactor, *this),
      read_(reactor, *this),
      batch_(reactor, *this),
      work_due_(reactor),
      scope_(reactor) {
  CHECK(options.mac.is_unicast() && options.mtu >= kMinMtu);
}

Net::~Net() {
  CHECK(!is_serving_ && !is_setting_offloads_);
}

uint64_t Net::features() const {
  return virtio::kQueueFeatures | kAlwaysOffered | (options_.offloads ? feature::kOffloads : 0);
}

void Net::read_config(uint64_t offset, std::span<std::byte> to) const {
  const Config config = {
      .mac = options_.mac.bytes,
      .status = static_cast<uint16_t>(is_link_up() ? kLinkUp : 0),
      .max_virtqueue_pairs = 0,
      .mtu = options_.mtu,
  };
  read_fields(std::as_bytes(std::span(&config, 1)), offset, to);
}

Result<> Net::activate(const virtio::ActivationContext& context) {
  TRY(check_features(context.features));
  context_.emplace(context);
  is_transmit_due_ = false;
  is_starved_ = false;
  was_patient_ = false;
  has_failed_ = false;
  is_flooded_ = false;
  if (is_stopping_) return {};
  if (!is_serving_) {
    is_serving_ = true;
    scope_.spawn(serve());
  }
  if (tap_.has_offloads() && !is_setting_offloads_) {
    is_setting_offloads_ = true;
    scope_.spawn(apply_offloads());
  }
  // The link may be another than it was.
  if (context.restored) context.interrupt.signal_config();
  wake();
  return {};
}

Result<Work> Net::queue_notified(uint16_t index) {
  CHECK(context_.has_value() && index < context_->queues.size());
  if (is_stopping_) return Work::drained;
  if (index == kRxQueue) {
    is_starved_ = false;
    shortage_.clear();
    // With what came it may wait for a longer frame.
    if (std::exchange(is_read_short_, false)) read_.cancel();
    wake();
    return Work::drained;
  }
  if (transmit_pause_.is_set()) return Work::drained;
  const Work work = TRY(take_frames());
  context_->signal_used_queues();
  return work;
}

void Net::reset() {
  context_.reset();
  let_go();
  transmit_pause_.clear();
  receive_pause_.clear();
  shortage_.clear();
}

/// What is in flight ends on its own, and concerns nobody any more.
void Net::let_go() {
  window_.clear();
  target_.disown();
  read_.forget();
  read_.cancel();
  batch_.forget();
  is_read_short_ = false;
}

// ---- the link

void Net::set_link(bool is_up) {
  const bool was_up = is_link_up();
  is_link_up_ = is_up;
  if (was_up != is_link_up()) tell_link();
  if (!is_link_up()) read_.cancel();
}

void Net::lose_tap() {
  const bool was_up = is_link_up();
  is_tap_gone_ = true;
  if (was_up) tell_link();
}

void Net::tell_link() {
  if (context_) context_->interrupt.signal_config();
  wake();
}

// ---- state

Net::State Net::save() const {
  return {.mac = options_.mac, .mtu = options_.mtu, .is_link_up = is_link_up()};
}

Result<> Net::restore(const State& saved) {
  CHECK(!context_ && !is_serving_);
  if (saved.mtu != options_.mtu) {
    return fail(Code::invalid_argument, "network state with an MTU of " + std::to_string(saved.mtu) +
                                            " for a device with one of " + std::to_string(options_.mtu));
  }
  if (!saved.mac.is_unicast()) {
    return fail(Code::invalid_argument, "network state with the address " + saved.mac.text() + " of a group");
  }
  is_link_up_ = saved.is_link_up;
  return {};
}

// ---- the loop

void Net::read_ended() {
  wake();
}

void Net::writes_ended() {
  is_transmit_due_ = true;
  wake();
}

void Net::alarm_rang(const Alarm& alarm) {
  if (&alarm == &transmit_pause_) is_transmit_due_ = true;
  if (&alarm == &shortage_) {
    is_starved_ = false;
    was_patient_ = true;
  }
  wake();
}

void Net::wake() {
  work_due_.notify_one();
}

bool Net::is_due() const {
  return context_.has_value() && !has_failed_ && !is_stopping_ &&
         (is_transmit_due_ || read_.has_result() || can_receive());
}

Result<> Net::work() {
  // Where there is more, it is due again. A batch may also end while it is made.
  if (std::exchange(is_transmit_due_, false) && TRY(take_frames()) == Work::more) is_transmit_due_ = true;
  TRY(give_frames());
  context_->signal_used_queues();
  return {};
}

Task<> Net::serve() {
  while (!is_stopping_) {
    if (is_due()) {
      co_await reactor::YieldOp(reactor_);
    } else {
      co_await work_due_.wait();
    }
    if (!is_due()) continue;
    if (auto worked = work(); !worked) {
      has_failed_ = true;
      let_go();
      context_->interrupt.fail(std::move(worked).error());
    }
  }
  while (read_.is_armed() || batch_.is_busy()) co_await work_due_.wait();
  if (context_ && !has_failed_) {
    if (auto settled = settle(); !settled) context_->interrupt.fail(std::move(settled).error());
  }
  is_serving_ = false;
}

/// The last of the work: what has come is delivered, and every chain is given back.
Result<> Net::settle() {
  TRY(give_frames());
  TRY(finish_batch());
  context_->signal_used_queues();
  return {};
}

/// Until it is done no frame is read: it could be one that the driver does not understand.
Task<> Net::apply_offloads() {
  while (context_ && !is_stopping_ && applied_offloads_ != (context_->features & kGuestOffloads)) {
    const uint64_t wanted = context_->features & kGuestOffloads;
    const auto set = co_await pool_.run([this, wanted] { return tap_.set_offloads(wanted); });
    if (!set) {
      log::warning("the offloads of a TAP cannot be set, its guest has no network",
                   {{"mac", options_.mac.text()}, {"error", set.error().message}});
      lose_tap();
      break;
    }
    applied_offloads_ = wanted;
  }
  is_setting_offloads_ = false;
  wake();
}

Task<> Net::stop() {
  is_stopping_ = true;
  read_.cancel();
  batch_.cancel();
  wake();
  co_await scope_.join();
  // Also what the last operations armed: a device may be destroyed on another thread.
  transmit_pause_.clear();
  receive_pause_.clear();
  shortage_.clear();
}

}  // namespace lambdo::virtio_net
