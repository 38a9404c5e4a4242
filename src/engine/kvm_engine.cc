#include "engine/kvm_engine.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/log.h"
#include "engine/agent_client.h"
#include "kvm/vm.h"
#include "lambdo.pb.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "virtio/rng.h"
#include "virtio_net/device.h"
#include "vsock/device.h"

namespace lambdo::engine {

// The first CID that a guest may have (virtio 1.2, 5.10.4). Every VM is alone with its host, so all have it.
static constexpr uint64_t kGuestCid = 3;
static constexpr size_t kConsoleLines = 12;
static constexpr size_t kMaxPanicBytes = 256;
// How long after a guest's connection broke its VM's end is waited for.
static constexpr int64_t kLastWordsMs = 250;
// An agent registers on one connection; more than a few are no agent's.
static constexpr int kMaxRegistrationConnections = 4;

/// The kernel's own line about it; a trace of calls may follow.
static std::string panic_words(std::string_view console) {
  static constexpr std::string_view kPanic = "Kernel panic - not syncing";
  const std::string_view from = console.substr(std::min(console.find(kPanic), console.size()));
  return kvm::last_console_lines(from.substr(0, std::min(from.find('\n'), kMaxPanicBytes)), 1);
}

static std::string describe(const kvm::VmExit& exit) {
  switch (exit.end) {
    case kvm::VmEnd::power_off:
      return "the guest switched itself off (power off)";
    case kvm::VmEnd::reset:
      return "the guest reset itself";
    case kvm::VmEnd::triple_fault:
      return "the guest crashed (triple fault)";
    case kvm::VmEnd::halted:
      return "the guest halted";
    case kvm::VmEnd::failed:
      return "the guest cannot go on: " + exit.detail;
    case kvm::VmEnd::killed:
      return "the guest was killed";
  }
  return exit.detail;
}

class KvmEngine::KvmGuest final : public Guest {
 public:
  KvmGuest(KvmEngine& engine, const KvmLanguage& language, kvm::BootToken token,
           std::optional<net::AttachedGuest> network)
      : engine_(engine),
        language_(language),
        token_(std::move(token)),
        network_(std::move(network)),
        vsock_(engine.reactor_, {.guest_cid = kGuestCid}),
        changed_(engine.reactor_),
        watch_(engine.reactor_) {
    engine_.guests_.emplace(token_.text(), this);
  }
  ~KvmGuest() override { engine_.guests_.erase(token_.text()); }

  /// From nothing to a connected agent.
  reactor::Task<Result<>> boot(reactor::CancelToken token);

  Fd take_agent_socket() override { return std::move(agent_socket_); }
  reactor::Task<Result<>> configure(AgentConnection& agent, reactor::CancelToken token) override;
  [[nodiscard]] bool alive() const override { return vm_ != nullptr && !vm_->ended().is_set(); }
  reactor::Task<std::optional<Error>> reason_of_end() override;
  // The agent applies them, as the request says.
  reactor::Task<Result<>> apply_limits(Limits /*limits*/) override { co_return Result<>{}; }
  reactor::Task<Result<GuestUsage>> usage() override { co_return GuestUsage{}; }
  reactor::Task<Result<GuestUsage>> destroy() override;

  Result<std::string> registered(uint32_t port);
  void status(bool ready);
  /// Why a guest that did not come up in time is given up; logs what it said last.
  [[nodiscard]] Error boot_timeout() const;

 private:
  reactor::Task<Result<>> plug_in();
  reactor::Task<Result<>> start_vm();
  reactor::Task<Result<>> wait_until_ready(reactor::CancelToken token);
  reactor::Task<Result<Fd>> dial(reactor::CancelToken token);
  reactor::Task<Result<Fd>> dial_expected(reactor::CancelToken token);
  reactor::Task<> end_with_vm(reactor::Scope& scope);
  reactor::Task<> watch_vm(reactor::CancelToken token);
  void accept_registration(Fd socket);
  [[nodiscard]] Error why_ended() const;

  KvmEngine& engine_;
  const KvmLanguage& language_;
  kvm::BootToken token_;
  std::optional<net::AttachedGuest> network_;
  std::unique_ptr<ExpectedAgent> expected_;  // where the image has an init of its own
  virtio::Rng rng_;
  vsock::Vsock vsock_;
  std::optional<virtio_net::Net> net_;  // where there is a network
  std::unique_ptr<kvm::Vm> vm_;
  Fd agent_socket_;
  uint32_t agent_port_ = 0;  // 0: not registered
  bool ready_ = false;
  int registration_connections_ = 0;
  reactor::Event changed_;
  reactor::Scope watch_;
};

/// "192.168.10.2/24"
static std::string address_of(const net::AttachedGuest& network) {
  return network.lease.address.text() + "/" + std::to_string(network.prefix_len);
}

/// Makes its network device, and has its agent expected where that comes over the network.
reactor::Task<Result<>> KvmEngine::KvmGuest::plug_in() {
  if (language_.has_own_init && (!network_ || engine_.options_.listener == nullptr)) {
    co_return fail(Code::engine_failed, "an agent that comes by TCP needs a network to come over");
  }
  if (!network_) co_return Result<>{};
  auto tap =
      CO_TRY(co_await engine_.taps_.run([this] { return virtio_net::Tap::adopt(std::move(network_->end)); }));
  net_.emplace(engine_.reactor_, engine_.taps_, std::move(tap),
               virtio_net::NetOptions{.mac = network_->lease.mac,
                                      .mtu = static_cast<uint16_t>(network_->mtu),
                                      .transmit_limits = engine_.options_.network_limits,
                                      .receive_limits = engine_.options_.network_limits});
  if (language_.has_own_init)
    expected_ = CO_TRY(engine_.options_.listener->expect(network_->lease.address.text()));
  co_return Result<>{};
}

reactor::Task<Result<>> KvmEngine::KvmGuest::configure(AgentConnection& agent, reactor::CancelToken token) {
  if (!network_ || language_.has_own_init) co_return Result<>{};
  grpc_definitions::ConfigureRequest request;
  grpc_definitions::NetworkInterface& interface = *request.mutable_interface();
  interface.set_mac(network_->lease.mac.text());
  interface.set_ipv4(address_of(*network_));
  interface.set_ipv4_gateway(network_->gateway.text());
  interface.set_mtu(network_->mtu);
  if (const auto& ipv6 = network_->ipv6) {
    interface.set_ipv6(ipv6->address.text());
    interface.set_ipv6_gateway(ipv6->gateway.text());
    interface.set_ipv6_gateway_mac(ipv6->gateway_mac.text());
  }
  for (const net::IpAddress& resolver : network_->resolvers) interface.add_dns_servers(resolver.text());
  co_return co_await agent.configure(request, token);
}

reactor::Task<Result<>> KvmEngine::KvmGuest::start_vm() {
  std::optional<GuestNetwork> told;
  if (language_.has_own_init) told = {.address = address_of(*network_), .gateway = network_->gateway.text()};
  const auto command_line = CO_TRY(guest_command_line(token_, engine_.material_.kernel_arguments, told));
  kvm::VmConfig config{.ram_bytes = language_.ram_bytes,
                       .vcpu_count = language_.vcpu_count,
                       .source = {.kernel = engine_.material_.kernel,
                                  .initrd = network_ ? language_.networked_archive : language_.archive,
                                  .token = token_,
                                  .command_line = command_line.text()},
                       .devices = {&rng_, &vsock_}};
  if (net_) config.devices.push_back(&*net_);
  if (!language_.has_own_init) {
    vsock_.listen(kRegistrationPort,
                  [this](Fd socket, uint32_t /*peer_port*/) { accept_registration(std::move(socket)); });
  }
  vm_ = CO_TRY(co_await kvm::Vm::start(engine_.reactor_, engine_.threads_, std::move(config)));
  watch_.spawn(watch_vm(watch_.token()));
  co_return Result<>{};
}

reactor::Task<Result<>> KvmEngine::KvmGuest::boot(reactor::CancelToken token) {
  const int64_t start_ns = engine_.reactor_.now_ns();
  CO_TRY(co_await plug_in());
  CO_TRY(co_await start_vm());
  const int64_t started_ns = engine_.reactor_.now_ns();
  auto socket = expected_ ? co_await dial_expected(token) : co_await dial(token);
  if (!socket && !alive()) co_return std::unexpected(why_ended());
  agent_socket_ = CO_TRY(std::move(socket));
  // Whatever else comes from its address is a program's.
  expected_.reset();
  log::debug("guest booted", {{"start_us", (started_ns - start_ns) / 1000},
                              {"boot_us", (engine_.reactor_.now_ns() - started_ns) / 1000}});
  co_return Result<>{};
}

/// Over vsock, once it has registered there.
reactor::Task<Result<Fd>> KvmEngine::KvmGuest::dial(reactor::CancelToken token) {
  CO_TRY(co_await wait_until_ready(token));
  co_return co_await vsock_.connect(agent_port_, token);
}

/// Over the guest's network.
reactor::Task<Result<Fd>> KvmEngine::KvmGuest::dial_expected(reactor::CancelToken token) {
  reactor::Scope scope(engine_.reactor_, token);
  scope.spawn(end_with_vm(scope));
  auto socket = co_await expected_->connect(scope.token());
  scope.cancel();
  co_await scope.join();
  co_return socket;
}

reactor::Task<> KvmEngine::KvmGuest::end_with_vm(reactor::Scope& scope) {
  if (co_await vm_->ended().wait(scope.token())) scope.cancel();
}

reactor::Task<Result<>> KvmEngine::KvmGuest::wait_until_ready(reactor::CancelToken token) {
  while (!ready_) {
    if (!alive()) co_return std::unexpected(why_ended());
    CO_TRY(co_await changed_.wait(token));
  }
  co_return Result<>{};
}

reactor::Task<> KvmEngine::KvmGuest::watch_vm(reactor::CancelToken token) {
  if (!co_await vm_->ended().wait(token)) co_return;
  changed_.notify_all();
  // Nobody is there any more to end its connections: whoever waits for the agent is told now.
  co_await vsock_.stop();
}

void KvmEngine::KvmGuest::accept_registration(Fd socket) {
  // Closed at once where it is one too many, or comes when there is nothing left to say.
  if (ready_ || ++registration_connections_ > kMaxRegistrationConnections) return;
  if (const auto served = engine_.agents_.serve(std::move(socket)); !served) {
    log::error("a registration cannot be served", {{"error", served.error().message}});
  }
}

Result<std::string> KvmEngine::KvmGuest::registered(uint32_t port) {
  if (agent_port_ != 0) return fail(Code::permission_denied, "this guest's agent has registered already");
  if (port == 0) return fail(Code::invalid_argument, "port 0 is none");
  agent_port_ = port;
  return token_.text();
}

void KvmEngine::KvmGuest::status(bool ready) {
  if (!ready || agent_port_ == 0 || ready_) return;
  ready_ = true;
  // Programs of the guest have no business there.
  vsock_.listen(kRegistrationPort, {});
  changed_.notify_all();
}

Error KvmEngine::KvmGuest::boot_timeout() const {
  const std::string console = vm_ ? kvm::last_console_lines(vm_->console(), kConsoleLines) : std::string();
  const bool has_registered = expected_ ? expected_->registered() : agent_port_ != 0;
  const bool is_ready = expected_ ? expected_->ready() : ready_;
  const char* missing = !has_registered ? "register" : is_ready ? "take a connection" : "become ready";
  std::string message = "the guest's agent did not " + std::string(missing) + " within " +
                        std::to_string(engine_.options_.boot_timeout_ms) + " ms";
  log::warning("a guest did not boot in time", {{"reason", message}, {"console", console}});
  return {Code::guest_boot_timeout, 0, std::move(message)};
}

Error KvmEngine::KvmGuest::why_ended() const {
  const std::string console = vm_->console();
  const std::string lines = kvm::last_console_lines(console, kConsoleLines);
  const kvm::VmExit& exit = vm_->exit();
  const bool panicked = kvm::console_shows_panic(console);
  std::string message = panicked ? "the guest's kernel panicked: " + panic_words(console) : describe(exit);
  log::warning("a guest ended by itself", {{"reason", message}, {"console", lines}});
  return {panicked ? Code::guest_panic : Code::guest_ended, 0, std::move(message)};
}

reactor::Task<std::optional<Error>> KvmEngine::KvmGuest::reason_of_end() {
  if (vm_ == nullptr) co_return std::nullopt;
  reactor::Deadline deadline(engine_.reactor_, engine_.reactor_.now_ns() + kLastWordsMs * 1'000'000);
  if (!co_await vm_->ended().wait(deadline.token())) co_return std::nullopt;
  co_return why_ended();
}

Result<> KvmEngine::check_limits(size_t language, const Limits& limits) const {
  const uint64_t most_mb = material_.languages.at(language).max_memory_mb;
  if (limits.memory_mb <= most_mb) return {};
  return fail(Code::invalid_argument, "limits.memory_mb: the guests of this language have room for " +
                                          std::to_string(most_mb) + " MiB; ask for less");
}

/// What a caller can act on stays; else it is the machine that failed, whatever call it was.
static Error as_start_failure(Error error) {
  switch (error.code) {
    case Code::guest_panic:
    case Code::guest_ended:
    case Code::guest_boot_timeout:
    case Code::agent_protocol:
    case Code::resource_exhausted:
    case Code::cancelled:
      return error;
    default:
      return std::move(error).with_code(Code::engine_failed);
  }
}

reactor::Task<Result<GuestUsage>> KvmEngine::KvmGuest::destroy() {
  watch_.cancel();
  co_await watch_.join();
  expected_.reset();
  // Streams and frames read and write guest memory: they end before it goes.
  co_await vsock_.stop();
  if (net_) co_await net_->stop();
  if (vm_) co_await vm_->destroy();
  // With them goes the last copy of the TAP: the kernel takes an interface away while we wait.
  if (network_) {
    co_await engine_.taps_.run([this] {
      net_.reset();
      network_.reset();
    });
  }
  co_return GuestUsage{};
}

KvmEngine::KvmEngine(reactor::Reactor& reactor, AgentRuntime& agents, reactor::BlockingPool& files,
                     KvmMaterial material, KvmEngineOptions options)
    : reactor_(reactor),
      agents_(agents),
      files_(files),
      taps_(reactor, 1),
      threads_(),
      material_(std::move(material)),
      options_(options),
      never_(reactor) {
  agents_.set_registry(this);
}

std::vector<std::string> KvmEngine::warnings() const {
  return material_.warnings;
}

KvmEngine::~KvmEngine() {
  agents_.set_registry(nullptr);
}

reactor::Task<Result<>> KvmEngine::prepare(size_t index, const Language& language) {
  // load_kvm_material() has read those that come with a file of their own.
  if (material_.languages.contains(index)) co_return Result<>{};
  const KvmSharedFiles& shared = *material_.shared;
  auto loaded = co_await files_.run([&shared, &language] { return load_kvm_language(shared, language); });
  if (!loaded) {
    co_return std::unexpected(std::move(loaded).error().with_context("languages[" + std::to_string(index) +
                                                                     "] (" + language.name + ")"));
  }
  material_.languages.emplace(index, *std::move(loaded));
  co_return Result<>{};
}

reactor::Task<Result<std::unique_ptr<Guest>>> KvmEngine::create_guest(
    size_t language, std::optional<net::AttachedGuest> network, reactor::CancelToken token) {
  auto secret = kvm::BootToken::random();
  if (!secret) {
    // As in destroy().
    if (network) co_await taps_.run([&network] { network.reset(); });
    co_return std::unexpected(std::move(secret).error());
  }
  auto guest = std::make_unique<KvmGuest>(*this, material_.languages.at(language), *std::move(secret),
                                          std::move(network));
  reactor::Deadline deadline(reactor_, reactor_.now_ns() + options_.boot_timeout_ms * 1'000'000, token);
  Result<> booted = co_await guest->boot(deadline.token());
  if (booted) co_return guest;
  Error error = deadline.passed() ? guest->boot_timeout() : std::move(booted).error();
  (void)co_await guest->destroy();
  co_return std::unexpected(as_start_failure(std::move(error)));
}

reactor::Task<Result<std::string>> KvmEngine::failure(reactor::CancelToken token) {
  CO_TRY(co_await never_.wait(token));
  co_return std::string();
}

reactor::Task<> KvmEngine::stop() {
  co_return;
}

Result<std::string> KvmEngine::register_agent(const std::string& token, uint32_t port) {
  const auto found = guests_.find(token);
  if (found == guests_.end()) return fail(Code::permission_denied, "no guest has this token");
  return found->second->registered(port);
}

void KvmEngine::agent_status(const std::string& id, bool ready) {
  const auto found = guests_.find(id);
  if (found != guests_.end()) found->second->status(ready);
}

}  // namespace lambdo::engine
