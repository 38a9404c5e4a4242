#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "engine/language.h"
#include "net/host_network.h"
#include "reactor/cancel.h"
#include "reactor/task.h"

namespace lambdo::engine {

class AgentConnection;

/// What a guest has used up to now.
struct GuestUsage {
  uint64_t oom_kills = 0;  ///< processes that the kernel killed because the guest's memory limit was reached
  uint64_t memory_peak_bytes = 0;
  uint64_t cpu_us = 0;
};

/// One sandbox or VM: started for one run, used once, destroyed. `destroy` must have returned before it dies.
class Guest {
 public:
  virtual ~Guest() = default;
  /// The host's end of the connection to its agent; once.
  virtual Fd take_agent_socket() = 0;
  /// False once it has ended by itself.
  [[nodiscard]] virtual bool alive() const = 0;
  /// Why it ended by itself, with what it said before; waits a moment for that end. nullopt where it lives.
  virtual reactor::Task<std::optional<Error>> reason_of_end() = 0;
  /// Has the agent, which is ready, set up what only it can, such as the guest's end of a network. Once,
  /// before the run.
  virtual reactor::Task<Result<>> configure(AgentConnection& /*agent*/, reactor::CancelToken /*token*/) {
    co_return Result<>{};
  }
  /// Changes memory_mb and processes from what the language says, before the run.
  virtual reactor::Task<Result<>> apply_limits(Limits limits) = 0;
  virtual reactor::Task<Result<GuestUsage>> usage() = 0;
  /// Kills all that runs in it and waits until nothing of it is left on the machine.
  virtual reactor::Task<Result<GuestUsage>> destroy() = 0;
};

/// A way of making guests. All calls on the reactor.
class Engine {
 public:
  virtual ~Engine() = default;
  /// "namespace" or "kvm".
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// What an operator should know about it on this machine, one sentence each.
  [[nodiscard]] virtual std::vector<std::string> warnings() const = 0;
  /// Before guests of the language with this index, once with success: says what they are made of. Languages
  /// come in any order, also while guests of others run. `language` outlives the call only.
  virtual reactor::Task<Result<>> prepare(size_t index, const Language& language) = 0;
  /// Whether a run with these limits has room in a guest of this language (invalid_argument, with the field).
  /// The language is prepared.
  [[nodiscard]] virtual Result<> check_limits(size_t /*language*/, const Limits& /*limits*/) const {
    return {};
  }
  /// Starts a guest for the language with this index. Its agent may still be starting when this returns. With
  /// `network` it has that interface (its end is the guest's from then on), else none but loopback.
  virtual reactor::Task<Result<std::unique_ptr<Guest>>> create_guest(
      size_t language, std::optional<net::AttachedGuest> network, reactor::CancelToken token) = 0;
  /// Waits for the moment from which no guest can be started any more, whatever one does: the reason. An
  /// error where the token was cancelled first.
  virtual reactor::Task<Result<std::string>> failure(reactor::CancelToken token) = 0;
  /// Leaves nothing behind. All guests must be destroyed.
  virtual reactor::Task<> stop() = 0;
};

}  // namespace lambdo::engine
