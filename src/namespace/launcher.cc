#include "namespace/launcher.h"

#include <sys/socket.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/log.h"
#include "reactor/operations.h"
#include "reactor/stream.h"

namespace lambdo::namespaces {

using reactor::Task;

Launcher::Launcher(reactor::Reactor& reactor, LauncherProcess process)
    : reactor_(&reactor), process_(std::move(process)), scope_(reactor) {
  scope_.spawn(receive_all());
}

Task<Result<>> Launcher::send(std::string bytes, const Fd& attached) {
  iovec part{.iov_base = bytes.data(), .iov_len = bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (attached.valid()) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* entry = CMSG_FIRSTHDR(&header);
    entry->cmsg_level = SOL_SOCKET;
    entry->cmsg_type = SCM_RIGHTS;
    entry->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = attached.get();
    std::memcpy(CMSG_DATA(entry), &fd, sizeof fd);
  }
  CO_TRY(co_await reactor::SendMessageOp(*reactor_, process_.socket.get(), header));
  co_return Result<>();
}

Task<Result<Message>> Launcher::call(Message request, Fd attached) {
  if (!alive_) co_return fail(Code::engine_failed, "the launcher process has died: restart the server");
  Call call(*reactor_);
  request.request = next_request_++;
  if (next_request_ == 0) next_request_ = 1;
  std::string bytes = CO_TRY(encode(request));
  calls_.emplace(request.request, &call);
  const Result<> sent = co_await send(std::move(bytes), attached);
  attached.reset();
  if (!sent) {
    calls_.erase(request.request);
    co_return std::unexpected(Error(sent.error()).with_code(Code::engine_failed).with_context("launcher"));
  }
  static_cast<void>(co_await call.answered.wait());
  co_return std::move(call.answer);
}

Task<> Launcher::receive_all() {
  std::vector<std::byte> buffer(kMaxMessageBytes);
  while (true) {
    iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    const Result<size_t> count =
        co_await reactor::ReceiveMessageOp(*reactor_, process_.socket.get(), header, scope_.token());
    if (!count || *count == 0) {
      lose({Code::engine_failed, 0, "the launcher process has died: restart the server"});
      co_return;
    }
    Result<Message> message = decode(std::span(buffer).first(*count));
    if (message) {
      dispatch(std::move(*message));
    } else {
      log::error("ignored a message of the launcher", {{"error", message.error().message}});
    }
  }
}

void Launcher::dispatch(Message message) {
  if (message.kind == Kind::exited) {
    const SandboxExit exit{.sandbox = message.numbers[0],
                           .wait_status = static_cast<int>(message.numbers[1]),
                           .output = std::move(message.texts[0])};
    if (observer_ != nullptr) observer_->sandbox_exited(exit);
    return;
  }
  const auto found = calls_.find(message.request);
  const bool is_answer = message.kind == Kind::success || message.kind == Kind::failure;
  if (found == calls_.end() || !is_answer) {
    log::error("ignored a message of the launcher", {{"kind", static_cast<int>(message.kind)}});
    return;
  }
  Call& call = *found->second;
  calls_.erase(found);
  if (message.kind == Kind::failure) {
    call.answer = std::unexpected(decode_failure(message));
  } else {
    call.answer = std::move(message);
  }
  call.answered.set();
}

void Launcher::lose(const Error& error) {
  alive_ = false;
  for (const auto& [request, call] : std::exchange(calls_, {})) {
    call->answer = std::unexpected(error);
    call->answered.set();
  }
  if (observer_ != nullptr && !stopping_) observer_->launcher_lost(error);
}

Task<Result<uint32_t>> Launcher::define(SandboxSpec spec) {
  for (std::string* path : {&spec.rootfs, &spec.agent_path}) {
    std::error_code error;
    *path = std::filesystem::absolute(*path, error).lexically_normal().string();
    if (error) co_return std::unexpected(errno_error(error.value(), "working directory"));
  }
  const Message answer = CO_TRY(co_await call(encode_spec(spec)));
  co_return static_cast<uint32_t>(answer.numbers[0]);
}

Task<Result<SandboxId>> Launcher::launch(uint32_t kind, Fd agent_socket) {
  const SandboxId sandbox = next_sandbox_++;
  CO_TRY(co_await call({.kind = Kind::launch, .numbers = {kind, sandbox}}, std::move(agent_socket)));
  co_return sandbox;
}

Task<Result<>> Launcher::set_limits(SandboxId sandbox, uint64_t memory_mb, uint64_t processes) {
  CO_TRY(co_await call({.kind = Kind::set_limits, .numbers = {sandbox, memory_mb, processes}}));
  co_return Result<>();
}

static Usage usage_of(const Message& message) {
  return {
      .oom_kills = message.numbers[0], .memory_peak_bytes = message.numbers[1], .cpu_us = message.numbers[2]};
}

Task<Result<Usage>> Launcher::usage(SandboxId sandbox) {
  co_return usage_of(CO_TRY(co_await call({.kind = Kind::usage, .numbers = {sandbox}})));
}

Task<Result<Usage>> Launcher::destroy(SandboxId sandbox) {
  co_return usage_of(CO_TRY(co_await call({.kind = Kind::destroy, .numbers = {sandbox}})));
}

Task<> Launcher::stop() {
  stopping_ = true;
  if (alive_) static_cast<void>(co_await call({.kind = Kind::stop}));
  static_cast<void>(co_await reactor::wait_process(*reactor_, process_.pidfd.get()));
  scope_.cancel();
  co_await scope_.join();
}

}  // namespace lambdo::namespaces
