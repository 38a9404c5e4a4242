#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "reactor/event.h"
#include "reactor/helper/process.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"
#include "reactor/task.h"

namespace lambdo::helper {

/// The server's side of a helper process: requests and their answers, which may overlap. When the process
/// dies all of them fail with Code::engine_failed, and so do later ones.
class Channel {
 public:
  /// Is told what nobody asked for, from the reactor's loop. Must not destroy the channel.
  class Observer {
   public:
    virtual ~Observer() = default;
    virtual void received(Message message) = 0;
    /// The process died while nobody was stopping it.
    virtual void lost(const Error& error) = 0;
  };

  /// `observer` outlives the channel. `name` is for people: "launcher". A process that leaves a request
  /// without an answer for `answer_ms` is killed.
  Channel(reactor::Reactor& reactor, Process process, Protocol protocol, std::string name, Observer& observer,
          std::optional<int64_t> answer_ms = std::nullopt);
  /// `stop` must have returned.
  ~Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  [[nodiscard]] bool alive() const { return alive_; }
  [[nodiscard]] pid_t pid() const { return process_.pid; }
  [[nodiscard]] Error error_of_loss() const;

  /// The answer, with its descriptors; where it is a failure, that. `attached` are given to the process and
  /// closed here. Once sent it is waited for, until it comes or the process is gone.
  reactor::Task<Result<Received>> call(Message request, Attachments attached = {});
  /// Sends `farewell`, where the protocol has one, and waits for its answer; closes the socket, then returns
  /// when the process has ended and is reaped. Calls still waiting fail.
  reactor::Task<> stop(const Message* farewell);

 private:
  struct Call {
    explicit Call(reactor::Reactor& reactor) : answered(reactor) {}
    reactor::Event answered;
    Result<Received> answer = fail(Code::internal, "no answer");
  };

  reactor::Task<> wait_for_answer(Call& call);
  reactor::Task<> receive_all();
  void dispatch(Received received);
  void lose();

  reactor::Reactor* reactor_;
  Process process_;
  Protocol protocol_;
  std::string name_;
  Observer* observer_;
  std::optional<int64_t> answer_ms_;
  reactor::Scope scope_;
  bool alive_ = true;
  bool stopping_ = false;
  std::map<uint32_t, Call*> calls_;
  uint32_t next_request_ = 1;
};

}  // namespace lambdo::helper
