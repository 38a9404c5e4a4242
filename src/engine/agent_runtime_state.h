#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/server.h>

#include <memory>
#include <thread>

#include "engine/agent_runtime.h"
#include "lambdo.grpc.pb.h"
#include "reactor/reactor.h"

/// The side of AgentRuntime that knows gRPC, apart so that others need not.
namespace lambdo::engine {

/// What the completion queue's thread sees of a call; its address is the tag.
class Completion {
 public:
  /// On the reactor. `ok` as grpc::CompletionQueue::Next gives it.
  virtual void finish(bool ok) = 0;

 protected:
  ~Completion() = default;
};

/// A call of an agent's, in the list of its runtime from the wait for it until it has been answered.
class IncomingCall : public Completion {
 public:
  IncomingCall(const IncomingCall&) = delete;
  IncomingCall& operator=(const IncomingCall&) = delete;
  virtual ~IncomingCall();

 protected:
  explicit IncomingCall(AgentRuntime::State& state);
  AgentRuntime::State& state_;

 private:
  IncomingCall* previous_ = nullptr;
  IncomingCall* next_ = nullptr;
};

struct AgentRuntime::State {
  explicit State(reactor::Reactor& owner);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void pump();

  reactor::Reactor& reactor;
  AgentRegistry* registry = nullptr;
  grpc_definitions::LambdoApiService::AsyncService service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  std::unique_ptr<grpc::Server> server;
  IncomingCall* first_call = nullptr;
  std::thread thread;
};

}  // namespace lambdo::engine
