#include "reactor/helper/channel.h"

#include <sys/socket.h>

#include <array>
#include <csignal>
#include <span>
#include <utility>

#include "base/log.h"
#include "base/syscalls.h"
#include "reactor/helper/socket.h"
#include "reactor/operations.h"
#include "reactor/process.h"
#include "reactor/timer.h"

namespace lambdo::helper {

using reactor::Deadline;
using reactor::Reactor;
using reactor::ReceiveMessageOp;
using reactor::SendMessageOp;
using reactor::Task;

Channel::Channel(Reactor& reactor, Process process, Protocol protocol, std::string name, Observer& observer,
                 std::optional<int64_t> answer_ms)
    : reactor_(&reactor),
      process_(std::move(process)),
      protocol_(protocol),
      name_(std::move(name)),
      observer_(&observer),
      answer_ms_(answer_ms),
      scope_(reactor) {
  scope_.spawn(receive_all());
}

Error Channel::error_of_loss() const {
  return {Code::engine_failed, 0, "the " + name_ + " process has died: restart the server"};
}

static Task<Result<>> send_packet(Reactor& reactor, int socket, std::string bytes, Attachments attached) {
  std::array<int, kMaxAttached> fds{};
  size_t count = 0;
  while (count < fds.size() && attached[count].valid()) {
    fds[count] = attached[count].get();
    ++count;
  }
  Packet packet(std::move(bytes), std::span(fds).first(count));
  CO_TRY(co_await SendMessageOp(reactor, socket, packet.header()));
  co_return Result<>();
}

Task<Result<Received>> Channel::call(Message request, Attachments attached) {
  if (!alive_) co_return std::unexpected(error_of_loss());
  Call call(*reactor_);
  request.request = next_request_++;
  if (next_request_ == 0) next_request_ = 1;
  std::string bytes = CO_TRY(encode(protocol_, request));
  calls_.emplace(request.request, &call);
  const Result<> sent =
      co_await send_packet(*reactor_, process_.socket.get(), std::move(bytes), std::move(attached));
  if (!sent) {
    calls_.erase(request.request);
    co_return std::unexpected(Error(sent.error()).with_code(Code::engine_failed).with_context(name_));
  }
  co_await wait_for_answer(call);
  co_return std::move(call.answer);
}

Task<> Channel::wait_for_answer(Call& call) {
  if (answer_ms_) {
    Deadline deadline(*reactor_, reactor_->now_ns() + *answer_ms_ * 1'000'000);
    static_cast<void>(co_await call.answered.wait(deadline.token()));
    if (call.answered.is_set()) co_return;
    const Result<> killed = sys::pidfd_signal(process_.pidfd.get(), SIGKILL);
    log::error("a helper process does not answer and is killed",
               {{"process", name_},
                {"limit_ms", *answer_ms_},
                {"error", killed ? std::string("none") : killed.error().message}});
  }
  // The end of a process is an answer to all that it was asked.
  static_cast<void>(co_await call.answered.wait());
}

Task<> Channel::receive_all() {
  Packet packet;
  while (true) {
    packet.reset();
    const Result<size_t> count =
        co_await ReceiveMessageOp(*reactor_, process_.socket.get(), packet.header(), scope_.token());
    if (!count || *count == 0) {
      lose();
      co_return;
    }
    Result<Received> received = packet.take(protocol_, *count);
    if (received) {
      dispatch(std::move(*received));
    } else {
      log::error("ignored a message of a helper process",
                 {{"process", name_}, {"error", received.error().message}});
    }
  }
}

void Channel::dispatch(Received received) {
  const uint8_t kind = received.message.kind;
  const bool is_answer = kind == kSuccess || kind == kFailure;
  if (!is_answer) return observer_->received(std::move(received.message));
  const auto found = calls_.find(received.message.request);
  if (found == calls_.end()) {
    log::error("ignored a message of a helper process",
               {{"process", name_}, {"error", "an answer to no request"}});
    return;
  }
  Call& call = *found->second;
  calls_.erase(found);
  if (kind == kFailure) {
    call.answer = std::unexpected(decode_failure(received.message));
  } else {
    call.answer = std::move(received);
  }
  call.answered.set();
}

void Channel::lose() {
  alive_ = false;
  const Error error = error_of_loss();
  for (const auto& [request, call] : std::exchange(calls_, {})) {
    call->answer = std::unexpected(error);
    call->answered.set();
  }
  if (!stopping_) observer_->lost(error);
}

Task<> Channel::stop(const Message* farewell) {
  stopping_ = true;
  if (alive_ && farewell != nullptr) static_cast<void>(co_await call(*farewell));
  // Where there is no farewell, the end of what it can read is one.
  if (farewell == nullptr) ::shutdown(process_.socket.get(), SHUT_WR);
  static_cast<void>(co_await reactor::wait_process(*reactor_, process_.pidfd.get()));
  scope_.cancel();
  co_await scope_.join();
}

}  // namespace lambdo::helper
