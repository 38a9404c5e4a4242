#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "reactor/cancel.h"
#include "reactor/listener.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"
#include "reactor/task.h"
#include "rpc/session_limits.h"

namespace lambdo::engine {

struct AgentListenerOptions {
  std::string host;   ///< an address literal
  uint16_t port = 0;  ///< 0: the kernel chooses
  /// How long a connection may last, from being accepted. Agents need milliseconds.
  int64_t connection_ms = 10'000;
  /// Open at a time from one guest.
  int max_connections_of_guest = 4;
};

struct AgentListenerStatistics {
  uint64_t accepted = 0;         ///< connections of guests that are expected
  uint64_t refused_unknown = 0;  ///< connections from an address where no guest is expected
  uint64_t refused_excess = 0;   ///< connections beyond what one guest may have
  uint64_t registered = 0;       ///< agents
  uint64_t refused_calls = 0;    ///< registrations that came twice or had no port, and Status of others' ids
  uint64_t protocol_errors = 0;  ///< connections that were no gRPC, or too much of it
  uint64_t timeouts = 0;         ///< connections that were still open at their time
  uint64_t connections_open = 0;
};

class ExpectedAgent;

/// LambdoApiService of proto/lambdo.proto on TCP, for agents that come over a guest's network, such as the
/// original Lambdo's: an agent connects, calls Register with the port it serves on, then Status with READY
/// and the id it got. A guest is known by its source address alone, so whoever gives guests a network has to
/// see to it that none can send from another's. All calls on the reactor.
class AgentListener {
 public:
  /// What a connection of an agent may make us keep or do; the agent is not known before it has registered.
  static constexpr rpc::SessionLimits kLimits = {.max_open_calls = 4,
                                                 .max_calls = 16,
                                                 .max_received_bytes = 64 << 10,
                                                 .max_message_bytes = 4096,
                                                 .max_queued_bytes = 64 << 10,
                                                 .stream_window_bytes = rpc::kPrefixBytes + 4096,
                                                 .connection_window_bytes = 65'535};

  AgentListener(reactor::Reactor& reactor, AgentListenerOptions options);
  /// stop() has returned, and all of expect() are gone.
  ~AgentListener();
  AgentListener(const AgentListener&) = delete;
  AgentListener& operator=(const AgentListener&) = delete;

  /// Listens, and accepts in the background.
  Result<> start();
  /// The port that start() got.
  [[nodiscard]] uint16_t port() const;
  /// From now on a guest at `address`, an address literal, may register, once. invalid_argument where it is
  /// none, or already expected.
  Result<std::unique_ptr<ExpectedAgent>> expect(const std::string& address);
  /// Takes no more connections and ends those there are. Who waits for a registration gets shutting_down.
  reactor::Task<> stop();

  [[nodiscard]] const AgentListenerStatistics& statistics() const { return statistics_; }

 private:
  friend ExpectedAgent;
  struct Guest;
  class Connection;

  reactor::Task<> accept();
  reactor::Task<> serve(Fd socket, std::shared_ptr<Guest> guest);
  void admit(Fd socket);

  reactor::Reactor& reactor_;
  AgentListenerOptions options_;
  AgentListenerStatistics statistics_;
  std::optional<reactor::Listener> listener_;
  reactor::Scope scope_;
  std::map<std::string, std::shared_ptr<Guest>> guests_;  // by address, as inet_ntop(3) writes it
};

/// A guest that is expected for as long as this lives. Its end cuts the guest's connections.
class ExpectedAgent {
 public:
  ExpectedAgent(AgentListener& listener, std::shared_ptr<AgentListener::Guest> guest);
  /// connect() has returned.
  ~ExpectedAgent();
  ExpectedAgent(const ExpectedAgent&) = delete;
  ExpectedAgent& operator=(const ExpectedAgent&) = delete;

  /// Waits until the agent has registered and said that it is ready, then dials its port: a connected socket
  /// for AgentConnection::create(). Once. Where the agent does not listen yet it is tried again until the
  /// token is cancelled, which is also the only limit on the wait. Errors: cancelled; shutting_down;
  /// agent_protocol where the agent says that it cannot run programs; others of connect(2).
  reactor::Task<Result<Fd>> connect(reactor::CancelToken token);

  [[nodiscard]] bool registered() const;
  [[nodiscard]] bool ready() const;

 private:
  AgentListener& listener_;
  std::shared_ptr<AgentListener::Guest> guest_;
};

}  // namespace lambdo::engine
