#include "net/guest_network.h"

#include <sys/random.h>

#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "net/helper_main.h"
#include "net/helper_protocol.h"
#include "reactor/event.h"

namespace lambdo::net {

using reactor::Task;

// Netlink and nftables take milliseconds, and more where the machine has many interfaces.
constexpr int64_t kAnswerMs = 60'000;

/// Shared by who wants the guest and the work for it: either may end first.
struct GuestNetwork::Attaching {
  Attaching(reactor::Reactor& reactor, helper::Message message)
      : request(std::move(message)), done(reactor) {}

  helper::Message request;
  reactor::Event done;
  bool abandoned = false;
  Result<AttachedGuest> guest = fail(Code::internal, "not attached yet");
};

Result<helper::Process> GuestNetwork::start_process(const HostNetworkSettings& settings) {
  auto started = helper::start_process("network helper", helper_protocol(), HelperKind::ready,
                                       [&](Fd socket) { return helper_main(settings, std::move(socket)); });
  if (started) return started;
  Error error = std::move(started).error();
  if (error.code == Code::permission_denied) {
    error.message += ": guests with a network need a server that is started as root";
    error.code = Code::unavailable;
  }
  return std::unexpected(std::move(error).with_context("network"));
}

GuestNetwork::GuestNetwork(reactor::Reactor& reactor, helper::Process process,
                           std::vector<IpAddress> resolvers)
    : reactor_(reactor),
      resolvers_(std::move(resolvers)),
      lost_(reactor),
      channel_(reactor, std::move(process), helper_protocol(), "network helper", *this, kAnswerMs),
      closings_(reactor, 1),
      scope_(reactor) {
  // Ethernet addresses are made from identities: other servers' guests have others.
  CHECK(::getrandom(&identity_prefix_, sizeof identity_prefix_, 0) == sizeof identity_prefix_);
}

std::string GuestNetwork::next_identity() {
  return hex(identity_prefix_) + "-" + std::to_string(++identities_);
}

static Result<AttachedGuest> guest_of(Result<helper::Received> answer) {
  const helper::Received received = TRY(std::move(answer));
  return decode_guest(received.message);
}

Task<> GuestNetwork::attach_in_background(std::shared_ptr<Attaching> attaching) {
  auto answer = co_await channel_.call(std::move(attaching->request));
  Fd end = answer ? std::move(answer->attached[0]) : Fd();
  attaching->guest = guest_of(std::move(answer));
  if (attaching->guest) {
    attaching->guest->end = std::move(end);
    attaching->guest->resolvers = resolvers_;
  }
  attaching->done.set();
  if (!attaching->abandoned || !attaching->guest) co_return;
  // Closing a TAP takes the kernel milliseconds.
  co_await closings_.run([end = std::move(attaching->guest->end)]() mutable { end.reset(); });
  const auto detached = co_await detach(attaching->guest->port);
  if (!detached) log::warning("a guest could not be detached", {{"error", detached.error().message}});
}

Task<Result<AttachedGuest>> GuestNetwork::attach(Policy policy, reactor::CancelToken token) {
  if (token.cancelled()) co_return fail(Code::cancelled, "attach: cancelled");
  const auto attaching = std::make_shared<Attaching>(
      reactor_, encode_policy_request(HelperKind::attach, next_identity(), policy));
  scope_.spawn(attach_in_background(attaching));
  const Result<> waited = co_await attaching->done.wait(token);
  // Cancelled in the same turn as it was done: it is there, and nobody else takes care of it.
  if (waited || attaching->done.is_set()) co_return std::move(attaching->guest);
  attaching->abandoned = true;
  co_return std::unexpected(waited.error());
}

Task<Result<>> GuestNetwork::detach(std::string port) {
  CO_TRY(co_await channel_.call({.kind = HelperKind::detach, .texts = {std::move(port)}}));
  co_return Result<>{};
}

Task<Result<>> GuestNetwork::set_policy(std::string port, Policy policy) {
  CO_TRY(co_await channel_.call(encode_policy_request(HelperKind::set_policy, std::move(port), policy)));
  co_return Result<>{};
}

Task<Result<TrafficCounters>> GuestNetwork::counters(std::string port) {
  const auto answer =
      CO_TRY(co_await channel_.call({.kind = HelperKind::counters, .texts = {std::move(port)}}));
  co_return decode_counters(answer.message);
}

Task<Result<std::string>> GuestNetwork::failure(reactor::CancelToken token) {
  CO_TRY(co_await lost_.wait(token));
  co_return failure_;
}

Task<> GuestNetwork::stop() {
  co_await scope_.join();
  co_await channel_.stop(nullptr);
}

void GuestNetwork::received(helper::Message message) {
  log::error("ignored a message of the network helper", {{"kind", static_cast<int>(message.kind)}});
}

void GuestNetwork::lost(const Error& error) {
  failure_ = "the network helper is gone: " + error.message;
  lost_.set();
}

}  // namespace lambdo::net
