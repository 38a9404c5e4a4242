#include "engine/namespace_engine.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include <utility>

#include "base/log.h"
#include "base/syscalls.h"
#include "reactor/event.h"
#include "reactor/timer.h"

namespace lambdo::engine {

// How long after a guest's connection broke the launcher's word on its end is waited for.
static constexpr int64_t kLastWordsMs = 250;

// Tasks in a sandbox's cgroup that are not the program's: bubblewrap, the agent and its executor.
static constexpr uint64_t kOwnTasks = 4;

class NamespaceEngine::NamespaceGuest final : public Guest {
 public:
  NamespaceGuest(NamespaceEngine& engine, namespaces::SandboxId id, Fd agent_socket)
      : engine_(engine), id_(id), agent_socket_(std::move(agent_socket)), ended_(engine.reactor_) {
    engine_.guests_.emplace(id_, this);
  }
  ~NamespaceGuest() override { engine_.guests_.erase(id_); }

  Fd take_agent_socket() override { return std::move(agent_socket_); }
  [[nodiscard]] bool alive() const override { return !ended_.is_set(); }

  reactor::Task<std::optional<Error>> reason_of_end() override {
    reactor::Deadline deadline(engine_.reactor_, engine_.reactor_.now_ns() + kLastWordsMs * 1'000'000);
    if (!co_await ended_.wait(deadline.token())) co_return std::nullopt;
    co_return Error{Code::agent_lost, 0, last_words_};
  }

  reactor::Task<Result<>> apply_limits(Limits limits) override {
    return engine_.launcher_.set_limits(id_, limits.memory_mb, limits.processes + kOwnTasks);
  }

  reactor::Task<Result<GuestUsage>> usage() override {
    const auto usage = CO_TRY(co_await engine_.launcher_.usage(id_));
    co_return GuestUsage{usage.oom_kills, usage.memory_peak_bytes, usage.cpu_us};
  }

  reactor::Task<Result<GuestUsage>> destroy() override {
    const auto usage = CO_TRY(co_await engine_.launcher_.destroy(id_));
    co_return GuestUsage{usage.oom_kills, usage.memory_peak_bytes, usage.cpu_us};
  }

  void ended(std::string last_words) {
    last_words_ = std::move(last_words);
    ended_.set();
  }

 private:
  NamespaceEngine& engine_;
  namespaces::SandboxId id_;
  Fd agent_socket_;
  reactor::Event ended_;
  std::string last_words_;
};

NamespaceEngine::NamespaceEngine(reactor::Reactor& reactor, namespaces::Launcher& launcher,
                                 std::string agent_path, std::optional<std::vector<IpAddress>> resolvers)
    : reactor_(reactor),
      launcher_(launcher),
      agent_path_(std::move(agent_path)),
      resolvers_(std::move(resolvers)),
      lost_(reactor) {
  launcher_.observe(this);
}

NamespaceEngine::~NamespaceEngine() {
  launcher_.observe(nullptr);
}

std::vector<std::string> NamespaceEngine::warnings() const {
  std::vector<std::string> warnings = {
      "the namespace engine isolates programs with the host's kernel (namespaces, seccomp, cgroups), which "
      "is weaker than "
      "a virtual machine"};
  const auto& more = launcher_.warnings();
  warnings.insert(warnings.end(), more.begin(), more.end());
  return warnings;
}

/// resolv.conf(5).
static std::string resolver_file(const std::vector<IpAddress>& resolvers) {
  std::string text;
  for (const IpAddress& resolver : resolvers) text += "nameserver " + resolver.text() + "\n";
  return text;
}

reactor::Task<Result<>> NamespaceEngine::prepare(size_t index, const Language& language) {
  const std::string field = "languages[" + std::to_string(index) + "] (" + language.name + ")";
  if (language.rootfs.empty()) {
    co_return fail(Code::invalid_argument,
                   field + ": the namespace engine needs an image or a rootfs; set languages[" +
                       std::to_string(index) +
                       "].image to an image, or rootfs to a folder with a root file system");
  }
  namespaces::SandboxSpec spec;
  spec.name = language.name;
  spec.rootfs = language.rootfs;
  spec.agent_path = agent_path_;
  spec.environment = language.environment;
  spec.memory_mb = language.limits.memory_mb;
  spec.processes = language.limits.processes + kOwnTasks;
  spec.disk_mb = language.limits.disk_mb;
  spec.cpu_percent = language.cpu_percent;
  spec.uid = language.user.uid;
  spec.gid = language.user.gid;
  auto plain = co_await launcher_.define(spec);
  if (!plain) co_return std::unexpected(std::move(plain).error().with_context(field));
  SpecIds spec_ids{.plain = *plain};
  if (resolvers_) {
    spec.networked = true;
    spec.resolver_file = resolver_file(*resolvers_);
    auto networked = co_await launcher_.define(std::move(spec));
    if (!networked) co_return std::unexpected(std::move(networked).error().with_context(field));
    spec_ids.networked = *networked;
  }
  spec_ids_.insert_or_assign(index, spec_ids);
  co_return Result<>{};
}

reactor::Task<Result<std::unique_ptr<Guest>>> NamespaceEngine::create_guest(
    size_t language, std::optional<net::AttachedGuest> network, reactor::CancelToken /*token*/) {
  auto [host_end, guest_end] = CO_TRY(sys::socketpair(SOCK_STREAM));
  const SpecIds& spec_ids = spec_ids_.at(language);
  auto id = co_await launcher_.launch(network ? spec_ids.networked : spec_ids.plain, std::move(guest_end),
                                      network ? std::move(network->end) : Fd());
  if (!id) co_return std::unexpected(std::move(id).error().with_code(Code::engine_failed));
  co_return std::make_unique<NamespaceGuest>(*this, *id, std::move(host_end));
}

reactor::Task<Result<std::string>> NamespaceEngine::failure(reactor::CancelToken token) {
  CO_TRY(co_await lost_.wait(token));
  co_return failure_;
}

reactor::Task<> NamespaceEngine::stop() {
  co_await launcher_.stop();
}

static std::string describe(const namespaces::SandboxExit& exit) {
  std::string text = "the sandbox ended by itself";
  if (WIFEXITED(exit.wait_status)) text += " with exit code " + std::to_string(WEXITSTATUS(exit.wait_status));
  if (WIFSIGNALED(exit.wait_status)) text += " by signal " + std::to_string(WTERMSIG(exit.wait_status));
  return exit.output.empty() ? text : text + ": " + exit.output;
}

void NamespaceEngine::sandbox_exited(const namespaces::SandboxExit& exit) {
  const auto found = guests_.find(exit.sandbox);
  if (found != guests_.end()) found->second->ended(describe(exit));
}

void NamespaceEngine::launcher_lost(const Error& error) {
  failure_ = "the launcher process is gone: " + error.message;
  lost_.set();
  for (auto& [id, guest] : guests_) guest->ended(error.message);
}

}  // namespace lambdo::engine
