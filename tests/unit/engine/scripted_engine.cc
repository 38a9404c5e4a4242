#include "scripted_engine.h"

#include <fcntl.h>
#include <grpcpp/server_posix.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/syscalls.h"

namespace lambdo::engine {

class ScriptedEngine::Service final : public grpc_definitions::LambdoAgentService::Service {
 public:
  grpc::Status Status(grpc::ServerContext*, const grpc_definitions::Empty*,
                      grpc_definitions::StatusMessage* answer) override {
    answer->set_code(grpc_definitions::READY);
    return grpc::Status::OK;
  }
};

class ScriptedEngine::ScriptedGuest final : public Guest {
 public:
  ScriptedGuest(ScriptedEngine& engine, size_t language, Fd host_end, Fd silent_end)
      : engine_(engine),
        language_(language),
        host_end_(std::move(host_end)),
        silent_end_(std::move(silent_end)) {}

  Fd take_agent_socket() override { return std::move(host_end_); }
  [[nodiscard]] bool alive() const override { return true; }
  reactor::Task<std::optional<Error>> reason_of_end() override { co_return std::nullopt; }
  reactor::Task<Result<>> apply_limits(Limits) override { co_return Result<>{}; }
  reactor::Task<Result<GuestUsage>> usage() override { co_return GuestUsage{}; }
  reactor::Task<Result<GuestUsage>> destroy() override {
    --engine_.alive[language_];
    co_return GuestUsage{};
  }

 private:
  ScriptedEngine& engine_;
  size_t language_;
  Fd host_end_;
  Fd silent_end_;
};

ScriptedEngine::ScriptedEngine(std::vector<Guests> guests)
    : script(std::move(guests)),
      created(script.size()),
      alive(script.size()),
      most_alive(script.size()),
      service_(std::make_unique<Service>()) {
  grpc::ServerBuilder builder;
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
}

ScriptedEngine::~ScriptedEngine() {
  server_->Shutdown();
}

reactor::Task<Result<>> ScriptedEngine::prepare(size_t, const Language&) {
  co_return Result<>{};
}

reactor::Task<Result<std::unique_ptr<Guest>>> ScriptedEngine::create_guest(
    size_t language, std::optional<net::AttachedGuest> /*network*/, reactor::CancelToken /*token*/) {
  if (script[language] == Guests::fail) co_return fail(Code::engine_failed, "as the script says");
  ++created[language];
  most_alive[language] = std::max(most_alive[language], ++alive[language]);
  auto [host_end, guest_end] = sys::socketpair(SOCK_STREAM).value();
  if (script[language] == Guests::answer) {
    CHECK(::fcntl(guest_end.get(), F_SETFL, O_NONBLOCK) == 0);
    grpc::AddInsecureChannelFromFd(server_.get(), guest_end.release());
  }
  co_return std::make_unique<ScriptedGuest>(*this, language, std::move(host_end), std::move(guest_end));
}

reactor::Task<Result<std::string>> ScriptedEngine::failure(reactor::CancelToken) {
  co_return fail(Code::cancelled, "never fails");
}

reactor::Task<> ScriptedEngine::stop() {
  co_return;
}

}  // namespace lambdo::engine
