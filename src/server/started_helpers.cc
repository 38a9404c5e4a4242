#include "server/started_helpers.h"

#include <algorithm>
#include <utility>

#include "config/agent_program.h"
#include "kvm/probe.h"
#include "server/network_setup.h"
#include "server/registry_credentials.h"

namespace lambdo::server {

/// Why the kvm engine cannot run here, or what it needs.
static Result<engine::KvmMaterial> prepare_kvm(const config::Config& config, const std::string& agent_path) {
  const auto probe = TRY(kvm::probe_kvm());
  if (!probe.usable()) return fail(Code::unavailable, probe.reason + "; " + probe.remedy);
  const engine::KvmFiles files{.agent_path = agent_path,
                               .kernel_path = config.vmm.kernel,
                               .modules_path = config.vmm.modules,
                               .kernel_arguments = config.vmm.kernel_arguments,
                               .networks = config.gives_network()};
  return engine::load_kvm_material(files, config.languages);
}

static Result<namespaces::LauncherProcess> start_launcher(const config::Config& config) {
  namespaces::LauncherOptions options;
  options.state_dir = config.state_dir;
  // Runs, guests that wait, and as many that are on their way out.
  size_t guests = config.runner.max_running;
  for (const engine::Language& language : config.languages) guests += language.warm;
  options.max_sandboxes = std::max(options.max_sandboxes, static_cast<uint32_t>(2 * guests));
  return namespaces::Launcher::start_process(options);
}

/// Agents come over their guests' network, which leads to the bridge's address only.
static Result<> check_agents_address(const config::Config::Api& api) {
  if (api.grpc_port == 0) {
    return fail(Code::invalid_argument,
                "api.gprc_port: 0 is no port that guests could be told; with agent.transport: tcp write one");
  }
  const std::string bridge = TRY(Ipv4Subnet::parse(api.bridge_address)).address.text();
  if (api.grpc_host == bridge || api.grpc_host == "0.0.0.0" || api.grpc_host == "::") return {};
  return fail(Code::invalid_argument, "api.grpc_host: guests do not reach " + api.grpc_host +
                                          "; with agent.transport: tcp leave it out or write " + bridge);
}

static Result<> start_network(const config::Config& config, net::PortKind kind, StartedHelpers& helpers) {
  if (!config.gives_network()) return {};
  const bool is_tcp = config.agent.transport == config::AgentTransport::tcp;
  if (is_tcp) TRY(check_agents_address(config.api));
  const net::HostNetworkSettings settings =
      TRY(network_settings(config, kind, is_tcp ? std::optional(config.api.grpc_port) : std::nullopt));
  helpers.network = TRY(net::GuestNetwork::start_process(settings));
  helpers.resolvers = settings.resolvers;
  return {};
}

static Result<StartedHelpers> start_processes(const config::Config& config) {
  StartedHelpers helpers;
  helpers.agent_path = TRY(config::find_agent(config.agent.path));
  if (config.vmm.engine != config::EngineChoice::namespaces) {
    auto material = prepare_kvm(config, helpers.agent_path);
    if (material) {
      TRY(start_network(config, net::PortKind::tap, helpers));
      helpers.kvm = *std::move(material);
      return helpers;
    }
    if (config.vmm.engine == config::EngineChoice::kvm)
      return std::unexpected(std::move(material).error().with_context("vmm.engine: kvm"));
    // Who has KVM and names a kernel wants VMs: a mistake in the files must not quietly take the wall away.
    if (material.error().code != Code::unavailable)
      return std::unexpected(std::move(material).error().with_context("vmm.engine: auto"));
    if (config.agent.transport == config::AgentTransport::tcp) {
      return fail(Code::unavailable,
                  "agent.transport: tcp needs the kvm engine: " + material.error().message);
    }
    helpers.engine_warning = "vmm.engine: auto took namespace: " + material.error().message;
  }
  helpers.launcher = TRY(start_launcher(config));
  TRY(start_network(config, net::PortKind::veth, helpers));
  return helpers;
}

Result<StartedHelpers> start_helpers(const config::Config& config, int interrupt_fd) {
  StartedHelpers helpers = TRY(start_processes(config));
  // Last: processes that were forked before have no secrets in their memory.
  helpers.credentials = TRY(find_credentials(config, interrupt_fd));
  return helpers;
}

}  // namespace lambdo::server
