#pragma once

#include <cstddef>

#include "reactor/cancel.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::reactor {

/// Owns background work: what is spawned here has ended before the scope does.
///
///   Scope scope(reactor);
///   scope.spawn(serve(connection, scope.token()));
///   scope.cancel();
///   co_await scope.join();
class Scope {
 public:
  explicit Scope(Reactor& reactor, CancelToken parent = {})
      : reactor_(&reactor), source_(parent), idle_(reactor) {}
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  /// `join` must have returned.
  ~Scope();

  /// Starts the task, from the loop.
  void spawn(Task<void> task);
  void cancel() { source_.cancel(); }
  [[nodiscard]] CancelToken token() { return source_.token(); }
  [[nodiscard]] size_t running() const { return running_; }
  /// Waits until all that was spawned, before or meanwhile, has ended.
  Task<> join();

 private:
  detail::Detached run(Task<void> task);

  Reactor* reactor_;
  CancelSource source_;
  Event idle_;
  size_t running_ = 0;
};

}  // namespace lambdo::reactor
