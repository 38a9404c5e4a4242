#include "namespace/launcher.h"

#include <filesystem>
#include <utility>

#include "base/log.h"
#include "namespace/state_directory.h"

namespace lambdo::namespaces {

using reactor::Task;

Result<LauncherProcess> Launcher::start_process(const LauncherOptions& options) {
  StateDirectory directory = TRY(open_state_directory(options.state_dir));
  LauncherProcess process;
  process.lock = std::move(directory.lock);
  auto started = helper::start_process("launcher", launcher_protocol(), MessageKind::ready, [&](Fd socket) {
    return launcher_main(options, cgroup_folder_name(directory.path), std::move(socket),
                         std::move(process.lock));
  });
  if (!started) return std::unexpected(std::move(started).error().with_context("namespace engine"));
  process.warnings = std::move(started->first.texts);
  process.process = std::move(*started);
  return process;
}

Launcher::Launcher(reactor::Reactor& reactor, LauncherProcess process)
    : warnings_(std::move(process.warnings)),
      lock_(std::move(process.lock)),
      channel_(reactor, std::move(process.process), launcher_protocol(), "launcher", *this) {}

Task<Result<Message>> Launcher::call(Message request, helper::Attachments attached) {
  auto answer = CO_TRY(co_await channel_.call(std::move(request), std::move(attached)));
  co_return std::move(answer.message);
}

void Launcher::received(Message message) {
  if (message.kind != MessageKind::exited) {
    return log::error("ignored a message of the launcher", {{"kind", static_cast<int>(message.kind)}});
  }
  const SandboxExit exit{.sandbox = message.numbers[0],
                         .wait_status = static_cast<int>(message.numbers[1]),
                         .output = std::move(message.texts[0])};
  if (observer_ != nullptr) observer_->sandbox_exited(exit);
}

void Launcher::lost(const Error& error) {
  if (observer_ != nullptr) observer_->launcher_lost(error);
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

Task<Result<SandboxId>> Launcher::launch(uint32_t spec, Fd agent_socket, Fd network) {
  const SandboxId sandbox = next_sandbox_++;
  helper::Attachments attached = {std::move(agent_socket), std::move(network)};
  CO_TRY(co_await call({.kind = MessageKind::launch, .numbers = {spec, sandbox}}, std::move(attached)));
  co_return sandbox;
}

Task<Result<>> Launcher::set_limits(SandboxId sandbox, uint64_t memory_mb, uint64_t processes) {
  CO_TRY(co_await call({.kind = MessageKind::set_limits, .numbers = {sandbox, memory_mb, processes}}));
  co_return Result<>();
}

static Usage usage_of(const Message& message) {
  return {
      .oom_kills = message.numbers[0], .memory_peak_bytes = message.numbers[1], .cpu_us = message.numbers[2]};
}

Task<Result<Usage>> Launcher::usage(SandboxId sandbox) {
  co_return usage_of(CO_TRY(co_await call({.kind = MessageKind::usage, .numbers = {sandbox}})));
}

Task<Result<Usage>> Launcher::destroy(SandboxId sandbox) {
  co_return usage_of(CO_TRY(co_await call({.kind = MessageKind::destroy, .numbers = {sandbox}})));
}

Task<> Launcher::stop() {
  const Message farewell{.kind = MessageKind::stop};
  co_await channel_.stop(&farewell);
}

}  // namespace lambdo::namespaces
