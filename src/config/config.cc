#include "config/config.h"

#include <algorithm>
#include <thread>

#include "base/syscalls.h"
#include "config/images.h"
#include "config/languages.h"
#include "config/network.h"
#include "config/values.h"
#include "config/yaml_reader.h"

namespace lambdo::config {

static constexpr std::string_view kApiVersion = "lambdo.io/v1alpha1";
static constexpr size_t kMaxFileBytes = 1 << 20;
static constexpr uint64_t kBufferedBytes = 512 << 20;

bool Config::gives_access() const {
  constexpr auto kNone = net::Policy::Access::none;
  return network.requests != kNone || std::ranges::any_of(languages, [](const engine::Language& language) {
           return language.network.access != kNone;
         });
}

bool Config::gives_network() const {
  return agent.transport == AgentTransport::tcp || gives_access();
}

std::string Config::store_folder() const {
  return images.store.empty() ? state_dir + "/images" : images.store;
}

std::string_view engine_name(EngineChoice choice) {
  switch (choice) {
    case EngineChoice::automatic:
      return "auto";
    case EngineChoice::kvm:
      return "kvm";
    case EngineChoice::namespaces:
      return "namespace";
  }
  return "";
}

void read_header(YamlMap& root, std::string_view kind) {
  const std::string version_remedy = "write apiVersion: " + std::string(kApiVersion);
  const auto version = root.require("apiVersion", version_remedy);
  if (const auto text = version ? version->text() : std::nullopt; text && *text != kApiVersion) {
    version->error(quoted(*text) + " is not supported; " + version_remedy);
  }
  const std::string kind_remedy = "write kind: " + std::string(kind);
  const auto written = root.require("kind", kind_remedy);
  const auto text = written ? written->text() : std::nullopt;
  if (!text || *text == kind) return;
  if (*text == "AgentConfig") {
    written->error("this is an agent's configuration; check it with lambdo config check --agent");
  } else if (*text == "Config") {
    written->error("this is a server's configuration; check it without --agent and --language");
  } else if (*text == "Language") {
    written->error(
        "this is a language's definition; include it from a configuration, or check it with lambdo "
        "config check --language");
  } else {
    written->error(quoted(*text) + " is not supported; " + kind_remedy);
  }
}

static void read_vmm(YamlMap map, Config::Vmm& vmm) {
  read_path(map, "kernel", vmm.kernel);
  read_path(map, "modules", vmm.modules);
  map.read_text("kernel_arguments", vmm.kernel_arguments);
  map.read_number("boot_timeout_ms", vmm.boot_timeout_ms, 1, kMaxTimeMs);
  map.read_choice<EngineChoice>("engine", vmm.engine,
                                {{"auto", EngineChoice::automatic},
                                 {"kvm", EngineChoice::kvm},
                                 {"namespace", EngineChoice::namespaces}});
  map.warn_of_unknown_keys();
}

/// Some keys have an older spelling, read first so that the newer one wins.
static void read_api(YamlMap map, Config::Api& api) {
  read_address(map, "host", api.web_host);
  read_address(map, "web_host", api.web_host);
  map.read_number("port", api.web_port, 0, kMaxPort);
  map.read_number("web_port", api.web_port, 0, kMaxPort);
  read_address(map, "grpc_host", api.grpc_host);
  map.read_number("gprc_port", api.grpc_port, 0, kMaxPort);
  map.read_number("grpc_port", api.grpc_port, 0, kMaxPort);
  read_interface_name(map, "bridge", api.bridge);
  read_bridge_address(map, "ip", api.bridge_address);
  read_bridge_address(map, "bridge_address", api.bridge_address);
  map.warn_of_unknown_keys();
}

static void read_agent(YamlMap map, Config& config) {
  Config::Agent& agent = config.agent;
  read_path(map, "path", agent.path);
  read_path(map, "config", agent.config);
  map.read_choice<AgentTransport>("transport", agent.transport,
                                  {{"vsock", AgentTransport::vsock}, {"tcp", AgentTransport::tcp}});
  if (agent.transport == AgentTransport::tcp && config.vmm.engine == EngineChoice::namespaces) {
    if (const auto written = map.find("transport"))
      written->error(
          "tcp is for the agents of microVMs, and vmm.engine is namespace; write vsock, or another engine");
  }
  map.warn_of_unknown_keys();
}

/// Images that were built with the original agent bring their own init, too.
static void use_own_inits(Config& config) {
  if (config.agent.transport != AgentTransport::tcp) return;
  for (engine::Language& language : config.languages) {
    language.has_own_init = language.image.empty() && !language.initramfs.empty();
  }
}

static void read_limit_settings(YamlMap map, Config::LimitSettings& limits) {
  if (const auto maximum = map.find("max")) read_limits(maximum->map(), limits.maximum, highest_limits());
  // A maximum below a built-in default lowers it; only what the file itself says can contradict the file.
  limits.standard = lowered_to(limits.standard, limits.maximum);
  if (const auto standard = map.find("default"))
    read_limits(standard->map(), limits.standard, limits.maximum);
  map.warn_of_unknown_keys();
}

static void read_runner(YamlMap map, Config::Runner& runner) {
  map.read_number("max_running", runner.max_running, 1, 100'000);
  map.read_number("queue_length", runner.queue_length, 0, 1'000'000);
  map.read_number("queue_timeout_ms", runner.queue_timeout_ms, 1, kMaxTimeMs);
  map.read_number("drain_timeout_ms", runner.drain_timeout_ms, 0, kMaxTimeMs);
  map.warn_of_unknown_keys();
}

static void read_http(YamlMap map, Config::Http& http) {
  map.read_number("max_body_bytes", http.max_body_bytes, 1024, 1 << 30);
  // Below one body no request of the size that is allowed would ever get in.
  map.read_number("max_buffered_bytes", http.max_buffered_bytes, http.max_body_bytes, uint64_t{1} << 40);
  map.read_number("max_header_bytes", http.max_header_bytes, 1024, 1 << 20);
  map.read_number("max_connections", http.max_connections, 1, 1'000'000);
  map.read_number("header_timeout_ms", http.header_timeout_ms, 1, kMaxTimeMs);
  map.read_number("body_timeout_ms", http.body_timeout_ms, 1, kMaxTimeMs);
  map.read_number("idle_timeout_ms", http.idle_timeout_ms, 1, kMaxTimeMs);
  map.read_number("write_timeout_ms", http.write_timeout_ms, 1, kMaxTimeMs);
  map.read_number("min_write_bytes_per_s", http.min_write_bytes_per_s, 1, 1 << 30);
  map.warn_of_unknown_keys();
}

static void read_log(YamlMap map, Config::Log& log) {
  map.read_choice<log::Level>("level", log.level,
                              {{"debug", log::Level::debug},
                               {"info", log::Level::info},
                               {"warning", log::Level::warning},
                               {"error", log::Level::error}});
  map.read_choice<log::Format>("format", log.format,
                               {{"text", log::Format::text}, {"json", log::Format::json}});
  map.warn_of_unknown_keys();
}

template <typename Section, typename Reader>
static void read_section(YamlMap& root, std::string_view key, Section& section, Reader reader) {
  if (const auto value = root.find(key)) reader(value->map(), section);
}

static void read_server_config(YamlMap& root, const std::string& file_name, Config& config) {
  read_header(root, "Config");
  read_path(root, "state_dir", config.state_dir);
  read_section(root, "vmm", config.vmm, read_vmm);
  read_section(root, "api", config.api, read_api);
  read_section(root, "agent", config, read_agent);
  read_section(root, "limits", config.limits, read_limit_settings);
  read_section(root, "runner", config.runner, read_runner);
  read_section(root, "http", config.http, read_http);
  read_section(root, "log", config.log, read_log);
  read_section(root, "network", config.network, read_network);
  read_section(root, "images", config.images, read_images);
  read_section(root, "registries", config.registries, read_registries);
  read_languages(root, file_name, config);
  use_own_inits(config);
  if (config.api.grpc_host.empty()) {
    config.api.grpc_host = config.api.bridge_address.substr(0, config.api.bridge_address.find('/'));
  }
  if (config.http.max_buffered_bytes == 0)
    config.http.max_buffered_bytes = std::max(kBufferedBytes, 2 * config.http.max_body_bytes);
  if (config.runner.max_running == 0)
    config.runner.max_running = std::max(8U, 4 * std::thread::hardware_concurrency());
}

static void read_grpc(YamlMap map, AgentConfig& config) {
  map.read_number("remote_port", config.remote_port, 1, kMaxPort);
  read_address(map, "remote_host", config.remote_host);
  map.read_number("local_port", config.local_port, 0, kMaxPort);
  read_address(map, "local_host", config.local_host);
  map.warn_of_unknown_keys();
}

static void read_agent_config(YamlMap& root, AgentConfig& config) {
  read_header(root, "AgentConfig");
  read_section(root, "grpc", config, read_grpc);
}

template <typename T, typename Reader>
static Checked<T> check(const std::string& text, const std::string& file_name, Reader reader) {
  YamlContext context(file_name);
  Checked<T> checked;
  if (const auto document = parse_yaml(context, text)) {
    YamlMap root = document->map();
    T config;
    reader(root, config);
    root.warn_of_unknown_keys();
    if (!context.has_errors()) checked.value = std::move(config);
  }
  checked.diagnostics = context.take_all();
  if (!checked.value) return checked;
  if constexpr (requires { checked.value->warnings; }) {
    for (const Diagnostic& diagnostic : checked.diagnostics)
      checked.value->warnings.push_back(diagnostic.text);
  }
  return checked;
}

template <typename T>
static Result<T> value_or_errors(Checked<T> checked) {
  if (checked.value) return std::move(*checked.value);
  std::string lines;
  for (const Diagnostic& diagnostic : checked.diagnostics) {
    if (diagnostic.severity != Severity::error) continue;
    if (!lines.empty()) lines += '\n';
    lines += diagnostic.text;
  }
  return fail(Code::invalid_argument, std::move(lines));
}

Checked<Config> check_config(const std::string& text, const std::string& file_name) {
  return check<Config>(text, file_name,
                       [&](YamlMap& root, Config& config) { read_server_config(root, file_name, config); });
}

Checked<engine::Language> check_language(const std::string& text, const std::string& file_name) {
  return check<engine::Language>(text, file_name, read_language_definition);
}

Checked<AgentConfig> check_agent_config(const std::string& text, const std::string& file_name) {
  return check<AgentConfig>(text, file_name, read_agent_config);
}

Result<Config> parse_config(const std::string& text, const std::string& file_name) {
  return value_or_errors(check_config(text, file_name));
}

Result<AgentConfig> parse_agent_config(const std::string& text, const std::string& file_name) {
  return value_or_errors(check_agent_config(text, file_name));
}

Result<std::string> read_config_file(const std::string& path) {
  auto text = sys::read_file(path, kMaxFileBytes);
  if (!text && text.error().code == Code::not_found) text.error().message += "; name an existing file";
  return text;
}

Result<Config> load_config(const std::string& path) {
  auto text = read_config_file(path);
  if (!text) return std::unexpected(std::move(text).error().with_context("--config"));
  return parse_config(*text, path);
}

Result<AgentConfig> load_agent_config(const std::string& path) {
  return parse_agent_config(TRY(read_config_file(path)), path);
}

}  // namespace lambdo::config
