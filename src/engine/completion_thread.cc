#include "engine/completion_thread.h"

#include <utility>

#include "base/check.h"

namespace lambdo::engine {

CompletionThread::CompletionThread(reactor::Reactor& reactor, std::unique_ptr<grpc::CompletionQueue> queue)
    : reactor_(reactor), queue_(std::move(queue)), thread_([this] { pass_on_completions(); }) {}

CompletionThread::~CompletionThread() {
  CHECK(!thread_.joinable());
}

void CompletionThread::stop() {
  queue_->Shutdown();
  thread_.join();
}

void CompletionThread::pass_on_completions() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    reactor_.mailbox().post([tag, ok] { static_cast<Completion*>(tag)->finish(ok); });
  }
}

}  // namespace lambdo::engine
