#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "reactor/cancel.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"

namespace lambdo::reactor {

/// SIGINT and SIGTERM as something that can be read (signalfd(2)); blocked for all threads that come after.
/// SIGPIPE is ignored: a peer that goes away must not end the process.
Result<Fd> signal_descriptor();

/// Lets SIGINT and SIGTERM cancel work instead of ending the process, so that it cleans up; a second one ends
/// the process at once. Made before the first thread.
class Interrupt {
 public:
  static Result<Interrupt> create();

  /// From here on, on the reactor. `reactor` lives until `stop` has returned.
  void start(reactor::Reactor& reactor);
  [[nodiscard]] reactor::CancelToken token() { return watch_->work.token(); }
  /// The signal that came, if one did.
  [[nodiscard]] std::optional<int> signal() const { return signal_; }
  /// What a shell gives for a program that the signal has ended. A signal must have come.
  [[nodiscard]] int exit_code() const { return kSignalBase + *signal_; }
  /// Readable when a signal has come that nobody has read.
  [[nodiscard]] int fd() const { return signals_.get(); }
  reactor::Task<> stop();

 private:
  static constexpr int kSignalBase = 128;
  struct Watch {
    explicit Watch(reactor::Reactor& reactor) : scope(reactor) {}
    reactor::CancelSource work;
    reactor::Scope scope;
  };
  explicit Interrupt(Fd signals) : signals_(std::move(signals)) {}
  reactor::Task<> wait(reactor::Reactor& reactor);

  Fd signals_;
  std::optional<int> signal_;
  std::unique_ptr<Watch> watch_;
};

}  // namespace lambdo::reactor
