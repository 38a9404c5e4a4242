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
using virtio::DescriptorChain;
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

Vsock::Vsock(reactor::Reactor& reactor, VsockOptions options)
    : reactor_(reactor),
      options_(options),
      work_due_(reactor),
      streams_(reactor, work_due_, options.buffer_bytes),
      next_host_port_(kFirstHostPort),
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
  transport_reset_.activate(context.restored);
  return {};
}

Result<Work> Vsock::queue_notified(uint16_t index) {
  CHECK(context_.has_value() && index < context_->queues.size());
  Work work = Work::drained;
  if (index == kEventQueue) TRY(transport_reset_.serve(queue(kEventQueue)));
  if (index == kTxQueue) work = TRY(take_packets());
  if (index == kRxQueue) is_starved_ = false;
  if (TRY(give_packets()) == Work::more) work = Work::more;
  context_->signal_used_queues();
  return work;
}

void Vsock::reset() {
  context_.reset();
  resets_.clear();
  transport_reset_.clear();
  streams_.detach_all();
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
  for (size_t i = 0; i <= streams_.attached() + 1; ++i) {
    const Ports ports = {next_host_port_++, guest_port};
    if (ports.host != kNoPort && streams_.find(ports) == nullptr) return ports;
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
  streams_.update(stream);
  work_due_.notify_one();
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

Task<> Vsock::stop() {
  is_stopping_ = true;
  streams_.close_all();
  work_due_.notify_one();
  co_await scope_.join();
  while (dials_ > 0) co_await dials_ended_.wait();
}

// ---- state

Vsock::State Vsock::save() const {
  return {.guest_cid = options_.guest_cid,
          .next_host_port = next_host_port_,
          .transport_reset_due = transport_reset_.is_due()};
}

Result<> Vsock::restore(const State& saved) {
  CHECK(connections() == 0 && !context_);
  if (saved.guest_cid != options_.guest_cid) {
    return fail(Code::invalid_argument, "vsock state of guest " + std::to_string(saved.guest_cid) +
                                            " for guest " + std::to_string(options_.guest_cid));
  }
  // Going on from there, a new call is not mistaken for one that the guest still believes in.
  next_host_port_ = saved.next_host_port;
  transport_reset_.restore(saved.transport_reset_due);
  return {};
}

// ---- from the guest

Result<Work> Vsock::take_packets() {
  virtio::Queue& packets = queue(kTxQueue);
  virtio::WorkBudget budget(kWakeUpLimits, reactor_.now_ns());
  packets.disable_notifications();
  while (budget.begin_round(reactor_.now_ns())) {
    const auto chain = TRY(packets.pop());
    if (!chain) {
      if (!packets.enable_notifications()) return Work::drained;
      continue;
    }
    budget.spend(take_packet(*chain));
    TRY(packets.push_used(chain->head(), 0));
  }
  return Work::more;
}

/// Handles one packet for good, and returns how much it carried. Nothing the guest says in it is an error of
/// the device: it is ignored, or its connection is reset.
uint32_t Vsock::take_packet(const DescriptorChain& chain) {
  RawHeader raw;
  if (chain.copy_readable(0, raw) < raw.size()) return 0;
  const Header header = decode(raw);
  Stream* stream = streams_.find({header.dst_port, header.src_port});
  switch (admit(header, options_.guest_cid, chain.readable_bytes() - raw.size())) {
    case Admission::ignore:
      return 0;
    case Admission::refuse:
      // A connection of another type is none of ours, even where its ports are.
      if (stream == nullptr || header.type != kTypeStream) {
        refuse(header);
      } else {
        reset_connection(*stream);
      }
      return 0;
    case Admission::accept:
      break;
  }
  if (stream != nullptr) {
    take_for(*stream, header, chain);
  } else if (op_of(header) == Op::request) {
    accept(header);
  } else {
    refuse(header);
  }
  return header.len_bytes;
}

void Vsock::take_for(Stream& stream, const Header& header, const DescriptorChain& chain) {
  switch (stream.connection.receive(header)) {
    case Reaction::none:
      break;
    case Reaction::established:
      stream.answer_dial(true);
      break;
    case Reaction::data:
      stream.take(chain, header.len_bytes);
      break;
    case Reaction::shut_down:
      // Both ways is how the guest closes, and it waits for the reset (Linux: for 8 s).
      if (!stream.connection.guest_sends() && !stream.connection.guest_receives()) {
        return reset_connection(stream);
      }
      stream.follow_guest_shutdown();
      break;
    case Reaction::ended:
      return streams_.detach(stream);
    case Reaction::violation:
      return reset_connection(stream);
  }
  streams_.update(stream);
}

void Vsock::accept(const Header& request) {
  const auto listener = listeners_.find(request.dst_port);
  if (listener == listeners_.end() || is_stopping_ || connections() >= options_.max_connections) {
    return refuse(request);
  }
  auto sockets = sys::socketpair(SOCK_STREAM);
  if (!sockets) return refuse(request);
  streams_.update(add(Connection::accepted(request, options_.buffer_bytes), std::move(sockets->first)));
  // The handler may close its own port: it is not in the table while it runs.
  Accepted handler = std::exchange(listener->second, nullptr);
  handler(std::move(sockets->second), request.src_port);
  const auto still = listeners_.find(request.dst_port);
  if (still != listeners_.end() && !still->second) still->second = std::move(handler);
}

void Vsock::refuse(const Header& header) {
  // A reset is never answered, or two sides could go on for ever.
  if (op_of(header) != Op::reset) refuse({header.dst_port, header.src_port}, header.type);
}

void Vsock::refuse(const Ports& ports, uint16_t type) {
  if (!context_) return;
  resets_.push({ports, type});
  work_due_.notify_one();
}

// ---- to the guest

Result<Work> Vsock::give_packets() {
  virtio::Queue& packets = queue(kRxQueue);
  virtio::WorkBudget budget(kWakeUpLimits, reactor_.now_ns());
  packets.disable_notifications();
  while (budget.begin_round(reactor_.now_ns())) {
    if (!has_packets()) return Work::drained;
    const auto chain = TRY(packets.pop());
    if (!chain) {
      // Only now is a notification of use: new buffers are not news while there is nothing to put into them.
      is_starved_ = !packets.enable_notifications();
      if (is_starved_) return Work::drained;
      continue;
    }
    if (chain->writable_bytes() <= kHeaderBytes) {
      // Of no use for anything; without bytes Linux drops it.
      TRY(packets.push_used(chain->head(), 0));
      continue;
    }
    budget.spend(TRY(give_next(*chain)));
  }
  return has_packets() ? Work::more : Work::drained;
}

/// Puts one packet into `chain`, or leaves it in the queue. Returns the bytes of payload.
Result<size_t> Vsock::give_next(const DescriptorChain& chain) {
  if (!resets_.empty()) return give_reset(chain);
  Stream* stream = streams_.take_sender();
  const auto control = stream->connection.take_control(options_.guest_cid);
  if (!control) return give_data(*stream, chain);
  streams_.update(*stream);
  return push(chain, *control);
}

Result<size_t> Vsock::give_reset(const DescriptorChain& chain) {
  const ResetQueue::Reset reset = resets_.pop();
  return push(chain, {.src_cid = kHostCid,
                      .dst_cid = options_.guest_cid,
                      .src_port = reset.ports.host,
                      .dst_port = reset.ports.guest,
                      .type = reset.type,
                      .op = static_cast<uint16_t>(Op::reset)});
}

Result<size_t> Vsock::give_data(Stream& stream, const DescriptorChain& chain) {
  const uint64_t room_bytes = std::min<uint64_t>(chain.writable_bytes() - kHeaderBytes, kMaxPayloadBytes);
  const auto max_bytes = static_cast<uint32_t>(std::min<uint64_t>(room_bytes, stream.connection.sendable()));
  uint32_t len_bytes = 0;
  auto received = Stream::Received::nothing;
  if (max_bytes > 0 && stream.is_readable()) received = stream.receive(chain, max_bytes, len_bytes);
  if (received == Stream::Received::bytes) {
    const Header header = stream.connection.take_data(options_.guest_cid, len_bytes);
    streams_.update(stream);
    return push(chain, header);
  }
  queue(kRxQueue).unpop();
  if (received == Stream::Received::broken) {
    // The host did not read all that the guest sent: the guest is not to believe that it did.
    reset_connection(stream);
  } else {
    streams_.update(stream);
  }
  return 0;
}

Result<size_t> Vsock::push(const DescriptorChain& chain, const Header& header) {
  chain.copy_writable(0, encode(header));
  TRY(queue(kRxQueue).push_used(chain.head(), static_cast<uint32_t>(kHeaderBytes) + header.len_bytes));
  return header.len_bytes;
}

// ---- the loop

Stream& Vsock::add(const Connection& connection, Fd socket) {
  Stream& added = streams_.add(connection, std::move(socket));
  if (!is_serving_) {
    is_serving_ = true;
    scope_.spawn(serve());
  }
  return added;
}

void Vsock::reset_connection(Stream& stream) {
  refuse(stream.connection.ports(), kTypeStream);
  streams_.detach(stream);
}

Task<> Vsock::serve() {
  while (!is_stopping_ || connections() > 0) {
    const bool can_give = context_ && has_packets() && !is_starved_;
    if (can_give) {
      co_await reactor::YieldOp(reactor_);
    } else if (!streams_.has_ready()) {
      co_await work_due_.wait();
    }
    streams_.handle_ready();
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
