#include "engine/kvm_guest.h"

#include <string>
#include <utility>

#include "base/log.h"
#include "engine/agent_client.h"
#include "engine/guest_end.h"
#include "lambdo.pb.h"
#include "reactor/timer.h"
#include "virtio_net/tap.h"

namespace lambdo::engine {

// The first CID that a guest may have (virtio 1.2, 5.10.4). Every VM is alone with its host, so all have it.
static constexpr uint64_t kGuestCid = 3;
// How long after a guest's connection broke its VM's end is waited for.
static constexpr int64_t kEndOfVmMs = 250;

/// "192.168.10.2/24"
static std::string address_of(const net::AttachedGuest& network) {
  return network.lease.address.text() + "/" + std::to_string(network.prefix_len);
}

KvmGuest::KvmGuest(const KvmGuestHost& host, const KvmLanguage& language, kvm::BootToken token,
                   std::optional<net::AttachedGuest> network)
    : host_(host),
      language_(language),
      token_(std::move(token)),
      network_(std::move(network)),
      vsock_(host.reactor, {.guest_cid = kGuestCid}),
      vsock_agent_(host.vsock_agents, vsock_, token_.text()),
      scope_(host.reactor) {}

reactor::Task<Result<>> KvmGuest::boot(reactor::CancelToken token) {
  const int64_t start_ns = host_.reactor.now_ns();
  CO_TRY(co_await add_network_device());
  CO_TRY(co_await start_vm());
  const int64_t started_ns = host_.reactor.now_ns();
  auto socket = co_await dial_agent(token);
  if (!socket && !alive()) co_return std::unexpected(why_ended());
  agent_socket_ = CO_TRY(std::move(socket));
  // What else comes from its address is a program's, not the agent's.
  tcp_agent_.reset();
  log::debug("guest booted", {{"start_us", (started_ns - start_ns) / 1000},
                              {"boot_us", (host_.reactor.now_ns() - started_ns) / 1000}});
  co_return Result<>{};
}

reactor::Task<Result<>> KvmGuest::add_network_device() {
  if (language_.has_own_init && (!network_ || host_.listener == nullptr)) {
    co_return fail(Code::engine_failed, "an agent that comes by TCP needs a network to come over");
  }
  if (!network_) co_return Result<>{};
  auto tap =
      CO_TRY(co_await host_.taps.run([this] { return virtio_net::Tap::adopt(std::move(network_->end)); }));
  net_.emplace(host_.reactor, host_.taps, std::move(tap),
               virtio_net::NetOptions{.mac = network_->lease.mac,
                                      .mtu = static_cast<uint16_t>(network_->mtu),
                                      .transmit_limits = host_.network_limits,
                                      .receive_limits = host_.network_limits});
  // Expected before its VM runs: its agent may come at any moment after.
  if (language_.has_own_init) {
    tcp_agent_ = CO_TRY(host_.listener->expect(network_->lease.address.text()));
  }
  co_return Result<>{};
}

reactor::Task<Result<>> KvmGuest::start_vm() {
  std::optional<GuestNetwork> told;
  if (language_.has_own_init) told = {.address = address_of(*network_), .gateway = network_->gateway.text()};
  const auto command_line = CO_TRY(guest_command_line(token_, host_.material.kernel_arguments, told));
  kvm::VmConfig config{.ram_bytes = language_.ram_bytes,
                       .vcpu_count = language_.vcpu_count,
                       .source = {.kernel = host_.material.kernel,
                                  .initrd = network_ ? language_.networked_archive : language_.archive,
                                  .token = token_,
                                  .command_line = command_line.text()},
                       .devices = {&rng_, &vsock_}};
  if (net_) config.devices.push_back(&*net_);
  if (!language_.has_own_init) vsock_agent_.listen();
  vm_ = CO_TRY(co_await kvm::Vm::start(host_.reactor, host_.threads, std::move(config)));
  scope_.spawn(end_connections_with_vm(scope_.token()));
  co_return Result<>{};
}

/// Waits for the agent for as long as the VM runs.
reactor::Task<Result<Fd>> KvmGuest::dial_agent(reactor::CancelToken token) {
  reactor::Scope waiting(host_.reactor, token);
  waiting.spawn(cancel_at_end_of_vm(waiting));
  auto socket = tcp_agent_ ? co_await tcp_agent_->connect(waiting.token())
                           : co_await vsock_agent_.connect(waiting.token());
  waiting.cancel();
  co_await waiting.join();
  co_return socket;
}

reactor::Task<> KvmGuest::cancel_at_end_of_vm(reactor::Scope& scope) {
  if (co_await vm_->ended().wait(scope.token())) scope.cancel();
}

reactor::Task<> KvmGuest::end_connections_with_vm(reactor::CancelToken token) {
  if (!co_await vm_->ended().wait(token)) co_return;
  // No driver is there any more to end them: whoever waits for the agent is told now.
  co_await vsock_.stop();
}

reactor::Task<Result<>> KvmGuest::configure(AgentConnection& agent, reactor::CancelToken token) {
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
  for (const IpAddress& resolver : network_->resolvers) interface.add_dns_servers(resolver.text());
  co_return co_await agent.configure(request, token);
}

Error KvmGuest::boot_timeout(int64_t allowed_ms) const {
  const std::string console =
      vm_ ? kvm::last_console_lines(vm_->console(), kLoggedConsoleLines) : std::string();
  const bool has_registered = tcp_agent_ ? tcp_agent_->registered() : vsock_agent_.registered();
  const bool is_ready = tcp_agent_ ? tcp_agent_->ready() : vsock_agent_.ready();
  const char* missing = !has_registered ? "register" : is_ready ? "take a connection" : "become ready";
  std::string message =
      "the guest's agent did not " + std::string(missing) + " within " + std::to_string(allowed_ms) + " ms";
  log::warning("a guest did not boot in time", {{"reason", message}, {"console", console}});
  return {Code::guest_boot_timeout, 0, std::move(message)};
}

Error KvmGuest::why_ended() const {
  const std::string console = vm_->console();
  Error error = error_of_end(vm_->exit(), console);
  log::warning(
      "a guest ended by itself",
      {{"reason", error.message}, {"console", kvm::last_console_lines(console, kLoggedConsoleLines)}});
  return error;
}

reactor::Task<std::optional<Error>> KvmGuest::reason_of_end() {
  if (vm_ == nullptr) co_return std::nullopt;
  reactor::Deadline deadline(host_.reactor, host_.reactor.now_ns() + kEndOfVmMs * 1'000'000);
  if (!co_await vm_->ended().wait(deadline.token())) co_return std::nullopt;
  co_return why_ended();
}

reactor::Task<Result<GuestUsage>> KvmGuest::destroy() {
  scope_.cancel();
  co_await scope_.join();
  tcp_agent_.reset();
  // Streams and frames read and write guest memory: they end before it goes.
  co_await vsock_.stop();
  if (net_) co_await net_->stop();
  if (vm_) co_await vm_->destroy();
  // With them goes the last copy of the TAP: the kernel takes an interface away while we wait.
  if (network_) {
    co_await host_.taps.run([this] {
      net_.reset();
      network_.reset();
    });
  }
  co_return GuestUsage{};
}

}  // namespace lambdo::engine
