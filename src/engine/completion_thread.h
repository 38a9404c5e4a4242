#pragma once

#include <grpcpp/completion_queue.h>

#include <memory>
#include <thread>

#include "reactor/reactor.h"

/// Knows gRPC; who only passes it on includes engine/agent_grpc.h.
namespace lambdo::engine {

/// A call of gRPC's asynchronous interface, ours or an agent's. The tag that gRPC takes is its address, as a
/// Completion*.
class Completion {
 public:
  /// On the reactor. `ok` as grpc::CompletionQueue::Next gives it.
  virtual void finish(bool ok) = 0;

 protected:
  ~Completion() = default;
};

/// A gRPC completion queue, and the thread that waits for it and has the reactor finish each call.
class CompletionThread {
 public:
  /// Starts the thread.
  CompletionThread(reactor::Reactor& reactor, std::unique_ptr<grpc::CompletionQueue> queue);
  /// stop() has returned.
  ~CompletionThread();
  CompletionThread(const CompletionThread&) = delete;
  CompletionThread& operator=(const CompletionThread&) = delete;

  /// Takes no more calls, and waits until the thread has passed on those that there are. A server on this
  /// queue has been shut down before (grpc::ServerBuilder::AddCompletionQueue).
  void stop();

  [[nodiscard]] grpc::CompletionQueue& queue() { return *queue_; }
  [[nodiscard]] reactor::Reactor& reactor() { return reactor_; }

 private:
  void pass_on_completions();

  reactor::Reactor& reactor_;
  std::unique_ptr<grpc::CompletionQueue> queue_;
  std::thread thread_;
};

}  // namespace lambdo::engine
