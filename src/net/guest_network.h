// GuestNetwork is the server's side of the network helper: coroutines that attach and detach guests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "net/host_network.h"
#include "reactor/blocking_pool.h"
#include "reactor/cancel.h"
#include "reactor/event.h"
#include "reactor/helper/channel.h"
#include "reactor/helper/process.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"
#include "reactor/task.h"

namespace lambdo::net {

/// The server's side of its network helper, the process that has the rights over the machine's network: it
/// attaches guests to it and detaches them. Requests may overlap; the helper does one after the other. When
/// it dies all of them fail with Code::engine_failed; guests keep running behind the rules that are in force.
class GuestNetwork final : private helper::Channel::Observer {
 public:
  /// Forks the helper and waits until its HostNetwork is open. The process must be single-threaded and have
  /// CAP_NET_ADMIN, and CAP_SYS_ADMIN for guests of processes. Errors: HostNetwork::open()'s.
  static Result<helper::Process> start_process(const HostNetworkSettings& settings);

  /// `process` was started with these resolvers.
  GuestNetwork(reactor::Reactor& reactor, helper::Process process, std::vector<IpAddress> resolvers);
  /// `stop` must have returned.
  ~GuestNetwork() override = default;
  GuestNetwork(const GuestNetwork&) = delete;
  GuestNetwork& operator=(const GuestNetwork&) = delete;

  [[nodiscard]] bool alive() const { return channel_.alive(); }
  [[nodiscard]] pid_t helper_pid() const { return channel_.pid(); }
  [[nodiscard]] const std::vector<IpAddress>& resolvers() const { return resolvers_; }

  /// Everything for one guest, for `detach` when the guest is gone. With the token cancelled it returns at
  /// once, and what was attached meanwhile is detached. Errors: resource_exhausted where no address is free.
  reactor::Task<Result<AttachedGuest>> attach(Policy policy, reactor::CancelToken token);
  /// After the guest has ended, and all copies of its end are closed.
  reactor::Task<Result<>> detach(std::string port);
  reactor::Task<Result<>> set_policy(std::string port, Policy policy);
  reactor::Task<Result<TrafficCounters>> counters(std::string port);
  /// Waits for the moment from which no guest can get a network any more: the reason. An error where the
  /// token was cancelled first.
  reactor::Task<Result<std::string>> failure(reactor::CancelToken token);
  /// Returns when the helper has removed everything, ended and is reaped. No guest may be attached any more.
  reactor::Task<> stop();

 private:
  struct Attaching;
  reactor::Task<> attach_in_background(std::shared_ptr<Attaching> attaching);
  void received(helper::Message message) override;
  void lost(const Error& error) override;
  std::string next_identity();

  reactor::Reactor& reactor_;
  std::vector<IpAddress> resolvers_;
  uint64_t identity_prefix_ = 0;
  uint64_t identities_ = 0;
  reactor::Event lost_;
  std::string failure_;
  helper::Channel channel_;
  reactor::BlockingPool closings_;  ///< of ends that nobody waits for any more
  reactor::Scope scope_;
};

}  // namespace lambdo::net
