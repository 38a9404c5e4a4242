#include "vsock/device.h"

#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/syscalls.h"
#include "reactor/yield.h"

namespace lambdo::vsock {

using reactor::CancelToken;
using reactor::Task;
using virtio::Work;

namespace {

/// VIRTIO_VSOCK_F_STREAM (virtio 1.2, 5.10.3).
constexpr uint64_t kFeatureStream = 1;
/// VMADDR_PORT_ANY is no port.
constexpr uint32_t kNoPort = UINT32_MAX;
/// Far from the ports that services listen on, for whoever reads a trace.
constexpr uint32_t kFirstHostPort = 1U << 30;

bool is_guest_cid(uint64_t cid) {
  return cid > kHostCid && cid < UINT32_MAX;
}

}  // namespace

/// A call of the host's that waits for the guest's answer.
struct Vsock::Dial {
  explicit Dial(reactor::Reactor& reactor) : answered(reactor) {}
  reactor::Event answered;
  std::optional<bool> established;
};

size_t Vsock::PortsHash::operator()(const Ports& ports) const {
  // The guest chooses its ports, and may choose them all alike: an odd factor spreads what differs, and the
  // table holds max_connections at most.
  return (uint64_t{ports.host} << 32 | ports.guest) * 0x9e3779b97f4a7c15 >> 16;
}

Vsock::Vsock(reactor::Reactor& reactor, VsockOptions options)
    : reactor_(reactor),
      options_(options),
      next_host_port_(kFirstHostPort),
      work_due_(reactor),
      dials_ended_(reactor),
      scope_(reactor) {
  CHECK(is_guest_cid(options.guest_cid) && options.buffer_bytes > 0);
}

Vsock::~Vsock() {
  CHECK(connections() == 0 && dials_ == 0);
}

uint64_t Vsock::features() const {
  return virtio::kQueueFeatures | kFeatureStream;
}

void Vsock::read_config(uint64_t offset, std::span<std::byte> to) const {
  read_fields(std::as_bytes(std::span(&options_.guest_cid, 1)), offset, to);
}

Result<> Vsock::activate(const virtio::ActivationContext& context) {
  context_.emplace(context);
  is_starved_ = false;
  // A guest that goes on from a snapshot believes in connections that are gone (virtio 1.2, 5.10.6.7).
  if (context.restored) transport_reset_due_ = true;
  is_held_back_ = transport_reset_due_;
  return {};
}

Result<Work> Vsock::queue_notified(uint16_t index) {
  CHECK(context_.has_value() && index < context_->queues.size());
  Work work = Work::drained;
  if (index == kEventQueue) TRY(give_events());
  if (index == kTxQueue) work = TRY(take_packets());
  if (index == kRxQueue) is_starved_ = false;
  if (TRY(give_packets()) == Work::more) work = Work::more;
  context_->signal_used_queues();
  return work;
}

void Vsock::reset() {
  context_.reset();
  refusal_count_ = 0;
  transport_reset_due_ = false;
  is_held_back_ = false;
  while (!streams_.empty()) detach(*streams_.begin()->second);
}

// ---- the host's side

void Vsock::listen(uint32_t port, Accepted accepted) {
  if (accepted) {
    listeners_[port] = std::move(accepted);
  } else {
    listeners_.erase(port);
  }
}

std::optional<Ports> Vsock::free_ports(uint32_t guest_port) {
  // One more than can be taken.
  for (size_t i = 0; i <= streams_.size() + 1; ++i) {
    const Ports ports = {next_host_port_++, guest_port};
    if (ports.host != kNoPort && !streams_.contains(ports)) return ports;
  }
  return std::nullopt;
}

Task<Result<Fd>> Vsock::connect(uint32_t port, CancelToken token) {
  if (token.cancelled()) co_return fail(Code::cancelled, "vsock connect cancelled");
  if (!context_ || is_stopping_) co_return fail(Code::closed, "the guest's vsock driver does not run");
  const auto ports = free_ports(port);
  if (connections() >= options_.max_connections || !ports) {
    co_return fail(Code::resource_exhausted, "the guest has as many vsock connections as it may have");
  }
  auto sockets = CO_TRY(sys::socketpair(SOCK_STREAM));
  Dial dial(reactor_);
  Stream& stream = add(Connection::dialled(*ports, options_.buffer_bytes), std::move(sockets.first));
  stream.dial = &dial;
  ++dials_;
  update(stream);
  wake();
  const auto waited = co_await dial.answered.wait(token);
  if (!dial.established) {
    // Cancelled: nobody but an answer ends the stream before, and that is told to the dial.
    stream.dial = nullptr;
    reset_connection(stream);
  }
  if (--dials_ == 0) dials_ended_.notify_all();
  if (!dial.established) co_return std::unexpected(waited.error());
  if (!*dial.established) co_return fail(Code::closed, "vsock port " + std::to_string(port) + " refused");
  co_return std::move(sockets.second);
}

void Vsock::end_dial(Stream& stream, bool established) {
  auto* dial = static_cast<Dial*>(std::exchange(stream.dial, nullptr));
  if (dial == nullptr) return;
  dial->established = established;
  dial->answered.set();
}

Task<> Vsock::stop() {
  is_stopping_ = true;
  while (!streams_.empty()) detach(*streams_.begin()->second);
  // From the back: finish() may take the stream out and move the last one to its place.
  for (size_t i = leaving_.size(); i > 0; --i) {
    Stream& stream = *leaving_[i - 1];
    stream.close();
    finish(stream);
  }
  wake();
  co_await scope_.join();
  while (dials_ > 0) co_await dials_ended_.wait();
}

// ---- state

Vsock::State Vsock::save() const {
  return {.guest_cid = options_.guest_cid,
          .next_host_port = next_host_port_,
          .transport_reset_due = transport_reset_due_ || is_held_back_};
}

Result<> Vsock::restore(const State& saved) {
  CHECK(connections() == 0 && !context_);
  if (saved.guest_cid != options_.guest_cid) {
    return fail(Code::invalid_argument, "vsock state of guest " + std::to_string(saved.guest_cid) +
                                            " for guest " + std::to_string(options_.guest_cid));
  }
  // Going on from there, a new call is not mistaken for one that the guest still believes in.
  next_host_port_ = saved.next_host_port;
  transport_reset_due_ = saved.transport_reset_due;
  return {};
}

// ---- streams

Stream& Vsock::add(Connection connection, Fd socket) {
  StreamOwner& owner = *this;
  auto stream =
      std::make_unique<Stream>(reactor_, owner, connection, std::move(socket), options_.buffer_bytes);
  Stream& added = *stream;
  streams_.emplace(connection.ports(), std::move(stream));
  if (!is_serving_) {
    is_serving_ = true;
    scope_.spawn(serve());
  }
  return added;
}

/// Whatever happened to a stream that the guest has: what is due next is arranged.
void Vsock::update(Stream& stream) {
  if (stream.is_readable() && stream.connection.sendable() == 0) stream.connection.stalled();
  stream.watch();
  if (stream.connection.has_control() || (stream.is_readable() && stream.connection.sendable() > 0)) {
    sending_.add(stream.send_link);
  }
}

/// The guest's side is over: bytes that it sent still go to the host.
void Vsock::detach(Stream& stream) {
  end_dial(stream, false);
  stream.send_link.unlink();
  const auto place = streams_.find(stream.connection.ports());
  CHECK(place != streams_.end() && place->second.get() == &stream);
  leaving_.push_back(std::move(place->second));
  streams_.erase(place);
  stream.leave();
  finish(stream);
}

/// Lets go of a stream that left once nothing is owed and nothing under way.
void Vsock::finish(Stream& stream) {
  if (stream.has_backlog()) return stream.watch();
  stream.close();
  if (!stream.is_idle()) return;
  const auto place = std::ranges::find_if(leaving_, [&](const auto& left) { return left.get() == &stream; });
  CHECK(place != leaving_.end());
  std::swap(*place, leaving_.back());
  leaving_.pop_back();
}

void Vsock::reset_connection(Stream& stream) {
  refuse(stream.connection.ports(), kTypeStream);
  detach(stream);
}

void Vsock::stream_ready(Stream& stream) {
  ready_.add(stream.ready_link);
  wake();
}

void Vsock::handle_ready() {
  while (Stream* stream = ready_.take()) {
    stream->note_ready();
    const auto place = streams_.find(stream->connection.ports());
    if (place != streams_.end() && place->second.get() == stream) {
      update(*stream);
    } else {
      finish(*stream);
    }
  }
}

void Vsock::wake() {
  work_due_.notify_one();
}

Task<> Vsock::serve() {
  while (!is_stopping_ || connections() > 0) {
    const bool can_give = context_ && has_packets() && !is_starved_;
    if (can_give) {
      co_await reactor::YieldOp(reactor_);
    } else if (ready_.empty()) {
      co_await work_due_.wait();
    }
    handle_ready();
    if (!context_ || !has_packets() || is_starved_) continue;
    if (auto given = give_packets(); !given) {
      context_->interrupt.fail(std::move(given).error());
      // Nothing more can be given: the queues are stopped until the driver resets the device.
      is_starved_ = true;
      continue;
    }
    context_->signal_used_queues();
  }
  is_serving_ = false;
}

}  // namespace lambdo::vsock
