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
      transmit_(reactor, *this, tap_, options_, counters_.transmit),
      receive_(reactor, *this, tap_, options_, counters_.receive),
      work_due_(reactor),
      scope_(reactor) {
  CHECK(options.mac.is_unicast() && options.mtu >= kMinMtu);
}

Net::~Net() {
  CHECK((phase_ == Phase::unused || phase_ == Phase::stopped) && !is_setting_offloads_);
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
  if (phase_ == Phase::stopping || phase_ == Phase::stopped) return {};
  transmit_.activate(context.queues[kTxQueue], context.features);
  receive_.activate(context.queues[kRxQueue], context.features);
  if (phase_ == Phase::unused) {
    phase_ = Phase::serving;
    scope_.spawn(serve());
  }
  if (tap_.has_offloads() && !is_setting_offloads_) {
    is_setting_offloads_ = true;
    scope_.spawn(apply_offloads());
  }
  // The link may be another than it was when the guest was saved.
  if (context.restored) context.interrupt.signal_config();
  wake();
  return {};
}

Result<Work> Net::queue_notified(uint16_t index) {
  CHECK(context_.has_value() && index < context_->queues.size());
  if (phase_ != Phase::serving) return Work::drained;
  if (index == kRxQueue) {
    receive_.queue_notified();
    return Work::drained;
  }
  const Work work = TRY(transmit_.queue_notified());
  context_->signal_used_queues();
  return work;
}

void Net::reset() {
  context_.reset();
  deactivate_paths();
}

// ---- the link

void Net::set_link(bool is_up) {
  if (link_ != Link::tap_gone && is_up != is_link_up()) {
    link_ = is_up ? Link::up : Link::down;
    tell_link();
  }
  if (!is_link_up()) receive_.cancel();
}

void Net::tap_lost() {
  const bool was_up = is_link_up();
  link_ = Link::tap_gone;
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
  CHECK(!context_ && (phase_ == Phase::unused || phase_ == Phase::stopped));
  if (saved.mtu != options_.mtu) {
    return fail(Code::invalid_argument, "network state with an MTU of " + std::to_string(saved.mtu) +
                                            " for a device with one of " + std::to_string(options_.mtu));
  }
  if (!saved.mac.is_unicast()) {
    return fail(Code::invalid_argument, "network state with the address " + saved.mac.text() + " of a group");
  }
  if (link_ != Link::tap_gone) link_ = saved.is_link_up ? Link::up : Link::down;
  return {};
}

// ---- the loop

/// Until the TAP's offloads are set no frame is read: it could be one that the driver does not understand.
bool Net::may_receive() const {
  return phase_ == Phase::serving && is_link_up() && !is_setting_offloads_;
}

bool Net::is_due() const {
  return phase_ == Phase::serving && (transmit_.is_due() || receive_.is_due());
}

Result<> Net::run_paths() {
  TRY(transmit_.run());
  TRY(receive_.run());
  context_->signal_used_queues();
  return {};
}

void Net::deactivate_paths() {
  transmit_.deactivate();
  receive_.deactivate();
}

Task<> Net::serve() {
  while (phase_ == Phase::serving) {
    if (is_due()) {
      co_await reactor::YieldOp(reactor_);
    } else {
      co_await work_due_.wait();
    }
    if (!is_due()) continue;
    if (auto ran = run_paths(); !ran) {
      // The driver broke the rules: nothing more until its reset.
      deactivate_paths();
      context_->interrupt.fail(std::move(ran).error());
    }
  }
  while (transmit_.is_busy() || receive_.is_busy()) co_await work_due_.wait();
  if (auto finished = finish_paths(); !finished) context_->interrupt.fail(std::move(finished).error());
  phase_ = Phase::stopped;
}

/// The last of the work: what has come is delivered, and every chain is given back.
Result<> Net::finish_paths() {
  TRY(receive_.run());
  TRY(transmit_.finish());
  if (context_) context_->signal_used_queues();
  return {};
}

Task<> Net::apply_offloads() {
  while (context_ && phase_ == Phase::serving && applied_offloads_ != (context_->features & kGuestOffloads)) {
    const uint64_t wanted = context_->features & kGuestOffloads;
    const auto set = co_await pool_.run([this, wanted] { return tap_.set_offloads(wanted); });
    if (!set) {
      log::warning("the offloads of a TAP cannot be set, its guest has no network",
                   {{"mac", options_.mac.text()}, {"error", set.error().message}});
      tap_lost();
      break;
    }
    applied_offloads_ = wanted;
  }
  is_setting_offloads_ = false;
  wake();
}

Task<> Net::stop() {
  if (phase_ == Phase::serving) phase_ = Phase::stopping;
  if (phase_ == Phase::unused) phase_ = Phase::stopped;
  transmit_.cancel();
  receive_.cancel();
  wake();
  co_await scope_.join();
  // Also those that the last operations set: a device may be destroyed on another thread.
  transmit_.clear_alarm();
  receive_.clear_alarm();
}

}  // namespace lambdo::virtio_net
