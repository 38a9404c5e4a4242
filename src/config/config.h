#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "base/log.h"
#include "config/diagnostics.h"
#include "engine/language.h"
#include "image/registry_options.h"
#include "net/policy.h"
#include "net/ruleset.h"

/// Configuration files. docs/configuration.md says what each key means; the initialisers here are the
/// defaults.
namespace lambdo::config {

/// `vmm.engine` as it is configured; `automatic` is decided when the server starts.
enum class EngineChoice { automatic, kvm, namespaces };
/// As it is written in a configuration: auto, kvm, namespace.
std::string_view engine_name(EngineChoice choice);

/// `agent.transport`: how the agents of languages with an `initramfs` reach the server. Over TCP they are the
/// image's own, the original Lambdo's for one.
enum class AgentTransport { vsock, tcp };

/// `kind: Config`, what the server reads.
struct Config {
  struct Vmm {
    std::string kernel;            ///< vmlinux or bzImage; may be empty
    std::string modules;           ///< lib/modules/VERSION of a modular kernel; may be empty
    std::string kernel_arguments;  ///< appended to the kernel's command line
    uint64_t boot_timeout_ms = 30'000;
    EngineChoice engine = EngineChoice::automatic;
  };
  struct Api {
    std::string web_host = "127.0.0.1";  ///< an IPv4 or IPv6 address
    uint16_t web_port = 3000;            ///< 0: the kernel chooses
    std::string grpc_host;               ///< as web_host; the bridge's address where the file has none
    uint16_t grpc_port = 50051;
    std::string bridge = "lambdo0";
    std::string bridge_address = "192.168.10.1/24";  ///< IPv4 address of the bridge, with its prefix length
  };
  struct Agent {
    std::string path;    ///< the agent's program; empty: the one that came with the server
    std::string config;  ///< the agent's configuration inside the guest; may be empty
    AgentTransport transport = AgentTransport::vsock;
  };
  struct LimitSettings {
    engine::Limits standard;  ///< what a language starts from; never above `maximum`
    engine::Limits maximum{60'000, 60'000, 2048, 16 << 20, 1024, 1024};
  };
  struct Runner {
    uint32_t max_running = 0;  ///< never 0 once loaded
    uint32_t queue_length = 1024;
    uint64_t queue_timeout_ms = 30'000;
    uint64_t drain_timeout_ms = 30'000;
  };
  struct Http {
    uint64_t max_body_bytes = 8 << 20;
    uint64_t max_header_bytes = 32 << 10;
    uint64_t max_buffered_bytes = 0;  ///< never 0 once loaded
    uint32_t max_connections = 4096;
    uint64_t header_timeout_ms = 10'000;
    uint64_t body_timeout_ms = 30'000;
    uint64_t idle_timeout_ms = 75'000;
    uint64_t write_timeout_ms = 30'000;
    uint64_t min_write_bytes_per_s = 16 << 10;
  };
  struct Log {
    log::Level level = log::Level::info;
    log::Format format = log::Format::text;
  };

  /// When the server starts: what of the images that languages name is fetched.
  enum class Pull {
    missing,  ///< those that the store does not have
    always,   ///< all, as far as they have changed
    never     ///< none
  };
  struct Network {
    net::Policy::Access requests = net::Policy::Access::none;  ///< the most that one may ask for by itself
    std::vector<IpSubnet> denied;                              ///< whatever policies say
    std::optional<std::vector<IpAddress>> resolvers;           ///< none: the host's
    std::optional<Ipv6Subnet> ipv6;                            ///< the bridge's; none: guests have no IPv6
    net::GuestLimits limits;
    uint64_t quarantine_ms = 30'000;
  };
  struct Images {
    std::string store;  ///< folder; empty: see store_folder()
    Pull pull = Pull::missing;
  };
  using Registries = image::RegistryOptions;

  std::string state_dir = "/var/lib/lambdo";
  Vmm vmm;
  Api api;
  Agent agent;
  LimitSettings limits;
  Runner runner;
  Http http;
  Log log;
  Network network;
  Images images;
  Registries registries;
  std::vector<engine::Language> languages;  ///< at least one; name and version together are unique
  std::vector<std::string> warnings;        ///< about the file, each "file:line: key: ..."

  /// Where images are kept: `images` in the state directory, unless the file says another folder.
  [[nodiscard]] std::string store_folder() const;
  /// Whether guests may reach more than their host, which has to forward packets then.
  [[nodiscard]] bool gives_access() const;
  /// Whether guests may have a network: a language has one, requests may ask for it, or agents come over it.
  [[nodiscard]] bool gives_network() const;
};

/// `kind: AgentConfig`, what an agent reads that registers over TCP.
struct AgentConfig {
  uint16_t remote_port = 50051;
  std::string remote_host;  ///< an IPv4 or IPv6 address; empty: the default gateway
  uint16_t local_port = 0;  ///< 0: the kernel chooses
  std::string local_host = "0.0.0.0";
  std::vector<std::string> warnings;
};

/// A file's content, if it has no error, and all its problems by line.
template <typename T>
struct Checked {
  std::optional<T> value;
  std::vector<Diagnostic> diagnostics;
};

/// `file_name` is what the diagnostics call the file; files that it includes lie relative to its folder, and
/// are read.
Checked<Config> check_config(const std::string& text, const std::string& file_name);
/// `kind: Language`: one entry of `languages`, in a file of its own.
Checked<engine::Language> check_language(const std::string& text, const std::string& file_name);
Checked<AgentConfig> check_agent_config(const std::string& text, const std::string& file_name);

/// Fails with invalid_argument and all errors, one a line.
Result<Config> parse_config(const std::string& text, const std::string& file_name);
Result<AgentConfig> parse_agent_config(const std::string& text, const std::string& file_name);

/// Blocks while it reads the file. Fails as parse_config(), or with the reason why the file cannot be read.
Result<Config> load_config(const std::string& path);
Result<AgentConfig> load_agent_config(const std::string& path);

/// The text of a configuration file, at most 1 MiB.
Result<std::string> read_config_file(const std::string& path);

}  // namespace lambdo::config
