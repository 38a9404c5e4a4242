#include "config/config.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "test.h"

namespace lambdo::config {

static const std::string kHead = "apiVersion: lambdo.io/v1alpha1\nkind: Config\n";        // lines 1 and 2
static const std::string kLanguages = "languages: [{name: a, steps: [{command: x}]}]\n";  // one line

/// All diagnostics, warnings marked.
static std::vector<std::string> problems_of(const std::vector<Diagnostic>& diagnostics) {
  std::vector<std::string> lines;
  lines.reserve(diagnostics.size());
  for (const Diagnostic& diagnostic : diagnostics) {
    lines.push_back((diagnostic.severity == Severity::warning ? "warning " : "") + diagnostic.text);
  }
  return lines;
}

static std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

struct BadFile {
  std::string text;
  std::vector<std::string> expected;
};

static void check_rows(const std::vector<BadFile>& rows) {
  for (const BadFile& row : rows) {
    CAPTURE(row.text);
    const auto checked = check_config(row.text, "c.yaml");
    CHECK_EQ(joined(problems_of(checked.diagnostics)), joined(row.expected));
    const bool only_warnings = std::ranges::all_of(
        row.expected, [](const std::string& line) { return line.starts_with("warning"); });
    CHECK_EQ(checked.value.has_value(), only_warnings);
  }
}

TEST_CASE("a file that is no configuration is told so at its line") {
  check_rows({
      {"", {"c.yaml:1: is empty; start it with apiVersion and kind"}},
      {"# nothing\n", {"c.yaml:1: is empty; start it with apiVersion and kind"}},
      {"- a\n", {"c.yaml:1: must be a map of keys, not a list; write \"key: value\" lines"}},
      {"\n\na: [1,\n",
       {"c.yaml:4: is not YAML: end of sequence flow not found (column 1); correct the line"}},
      {kHead + kLanguages + "---\na: 1\n",
       {"c.yaml:5: is a second YAML document; put it into a file of its own"}},
      {kLanguages,
       {"c.yaml:1: apiVersion: is missing; write apiVersion: lambdo.io/v1alpha1",
        "c.yaml:1: kind: is missing; write kind: Config"}},
      {"apiVersion: v1\nkind: AgentConfig\n" + kLanguages,
       {"c.yaml:1: apiVersion: \"v1\" is not supported; write apiVersion: lambdo.io/v1alpha1",
        "c.yaml:2: kind: this is an agent's configuration; check it with lambdo config check --agent"}},
      {"apiVersion: lambdo.io/v1alpha1\nkind:\n" + kLanguages,
       {"c.yaml:2: kind: is empty; write kind: Config"}},
      {"apiVersion: lambdo.io/v1alpha1\nkind: Pod\n" + kLanguages,
       {"c.yaml:2: kind: \"Pod\" is not supported; write kind: Config"}},
      {kHead, {"c.yaml:1: languages: is missing; write at least one language with its name and steps"}},
      {kHead + "languages: []\n", {"c.yaml:3: languages: is an empty list; write at least one language"}},
      {kHead + "languages: a\n",
       {"c.yaml:3: languages: must be a list, not a single value; start each entry with \"- \""}},
  });
}

TEST_CASE("a value of the wrong type or range names its key, what it is, and what to write") {
  const std::string start = kHead + kLanguages;  // 3 lines
  check_rows({
      {start + "vmm: fast\n",
       {"c.yaml:4: vmm: must be a map of keys, not a single value; write \"key: value\" lines"}},
      {start + "vmm:\n  kernel: [a]\n",
       {"c.yaml:5: vmm.kernel: must be text, not a list; write one value after the key"}},
      {start + "vmm:\n  engine: qemu\n",
       {"c.yaml:5: vmm.engine: \"qemu\" is not known here; write auto, kvm or namespace"}},
      {start + "agent:\n  transport: pigeon\n",
       {"c.yaml:5: agent.transport: \"pigeon\" is not known here; write vsock or tcp"}},
      {start + "agent:\n  transport: tcp\nvmm: {engine: namespace}\n",
       {"c.yaml:5: agent.transport: tcp is for the agents of microVMs, and vmm.engine is namespace; write "
        "vsock, or another engine"}},
      {start + "api:\n  web_port: http\n",
       {"c.yaml:5: api.web_port: must be a number, not \"http\"; write a whole number from 0 to 65535"}},
      {start + "api:\n  web_port: 65536\n",
       {"c.yaml:5: api.web_port: 65536 is out of range; write a whole number from 0 to 65535"}},
      {start + "api:\n  gprc_port: -1\n",
       {"c.yaml:5: api.gprc_port: -1 is out of range; write a whole number from 0 to 65535"}},
      {start + "api:\n  web_host: here\n",
       {"c.yaml:5: api.web_host: \"here\" is not an IP address; write one such as 127.0.0.1, 0.0.0.0 or "
        "::1"}},
      {start + "api:\n  bridge_address: 10.0.0.1\n",
       {"c.yaml:5: api.bridge_address: \"10.0.0.1\" is not an IPv4 address with a prefix length; write one "
        "such as "
        "192.168.10.1/24"}},
      {start + "api:\n  bridge: a/b\n",
       {"c.yaml:5: api.bridge: \"a/b\" is not a network interface's name; write 1 to 15 letters and digits"}},
      {start + "log:\n  level: loud\n  format: xml\n",
       {"c.yaml:5: log.level: \"loud\" is not known here; write debug, info, warning or error",
        "c.yaml:6: log.format: \"xml\" is not known here; write text or json"}},
      {start + "state_dir: \"\"\n", {"c.yaml:4: state_dir: is empty; write a path, or remove the key"}},
      {start + "state_dir: \"a\\0b\"\n", {"c.yaml:4: state_dir: contains a NUL character; remove it"}},
      {start + "runner: {max_running: 0}\n",
       {"c.yaml:4: runner.max_running: 0 is out of range; write a whole number from 1 to 100000"}},
      {start + "http: {max_connections: 99999999999999999999}\n",
       {"c.yaml:4: http.max_connections: 99999999999999999999 is out of range; write a whole "
        "number from 1 to "
        "1000000"}},
      {start + "http: {max_body_bytes: 2000000, max_buffered_bytes: 1999999}\n",
       {"c.yaml:4: http.max_buffered_bytes: 1999999 is out of range; write a whole number from 2000000 to "
        "1099511627776"}},
      {start + "limits:\n  default: {wall_ms: 70000}\n",
       {"c.yaml:5: limits.default.wall_ms: 70000 is more than limits.max allows; write at most 60000, or "
        "raise "
        "limits.max.wall_ms"}},
      {start + "limits:\n  max: {memory_mb: 0}\n",
       {"c.yaml:5: limits.max.memory_mb: 0 is out of range; write a whole number from 1 to 1048576"}},
  });
}

TEST_CASE("a problem of a language names its place in the list") {
  const std::string steps = "  steps:\n  - command: x\n";
  check_rows({
      {kHead + "languages:\n- version: 1\n",
       {"c.yaml:4: languages[0].name: is missing; write the name that requests use",
        "c.yaml:4: languages[0].steps: is missing; write at least one step with its command"}},
      {kHead + "languages:\n- name: a\n  steps: []\n",
       {"c.yaml:5: languages[0].steps: is an empty list; write at least one step"}},
      {kHead + "languages:\n- name: a b\n" + steps,
       {"c.yaml:4: languages[0].name: \"a b\" is not allowed; write 1 to 64 letters, digits or any of . _ + "
        "# -"}},
      {kHead + "languages:\n- name: a\n  steps:\n  - name: one\n  - command: ' '\n",
       {"c.yaml:6: languages[0].steps[0].command: is missing; write the shell command of this step",
        "c.yaml:7: languages[0].steps[1].command: is empty; write a shell command"}},
      {kHead + "languages:\n- name: a\n  steps:\n  - command: run {{file}} {{args}}\n",
       {"c.yaml:6: languages[0].steps[0].command: unknown placeholder \"{{file}}\"; write {{filename}} or "
        "{{args}}"}},
      {kHead + "languages:\n- name: a\n  steps:\n  - command: x\n    output:\n      enabled: maybe\n",
       {"c.yaml:8: languages[0].steps[0].output.enabled: must be true or false, not \"maybe\"; write one of "
        "the two"}},
      {kHead + "languages:\n- name: py\n  version: 3\n" + steps + "- name: PY\n  version: '3'\n" + steps,
       {"c.yaml:8: languages[1]: language \"PY\" version \"3\" is on line 4 already; give one of them "
        "another version"}},
      {kHead + "languages:\n- name: a\n  limits: {cpu_ms: 99999}\n" + steps,
       {"c.yaml:5: languages[0].limits.cpu_ms: 99999 is more than limits.max allows; write at most 60000, or "
        "raise "
        "limits.max.cpu_ms"}},
      {kHead + "languages:\n- name: a\n  environment: {\"A=B\": c, D: [e]}\n" + steps,
       {"c.yaml:5: languages[0].environment.A=B: is not a variable's name; write letters, digits and _",
        "c.yaml:5: languages[0].environment.D: must be text, not a list; write one value after the key"}},
      {kHead + "languages:\n- name: a\n  warm: 1001\n" + steps,
       {"c.yaml:5: languages[0].warm: 1001 is out of range; write a whole number from 0 to 1000"}},
  });
}

TEST_CASE("unknown keys are warnings with a suggestion where one is near") {
  check_rows({
      {kHead + kLanguages + "vmn: {}\napi:\n  web_prot: 1\n  colour: red\n",
       {"warning c.yaml:4: vmn: unknown key, ignored; did you mean \"vmm\"?",
        "warning c.yaml:6: api.web_prot: unknown key, ignored; did you mean \"web_port\"?",
        "warning c.yaml:7: api.colour: unknown key, ignored; remove it"}},
      {kHead + "languages:\n- name: a\n  image: b\n  steps:\n  - command: x\n    Comand: y\n",
       {"warning c.yaml:8: languages[0].steps[0].Comand: unknown key, ignored; did you mean \"command\"?"}},
  });
}

TEST_CASE("duplicate keys are an error with both lines") {
  check_rows({
      {kHead + kLanguages + "api:\n  web_port: 1\n  web_port: 2\nkind: Config\n",
       {"c.yaml:6: api.web_port: is here a second time, first on line 5; remove one of the two",
        "c.yaml:7: kind: is here a second time, first on line 2; remove one of the two"}},
  });
}

TEST_CASE("all problems are reported at once, by line") {
  check_rows({
      {"apiVersion: lambdo.io/v1alpha1\nlanguages:\n- name: a\napi:\n  web_port: x\n  web_host: y\nhtpp: "
       "{}\n",
       {"c.yaml:1: kind: is missing; write kind: Config",
        "c.yaml:3: languages[0].steps: is missing; write at least one step with its command",
        "c.yaml:5: api.web_port: must be a number, not \"x\"; write a whole number from 0 to 65535",
        "c.yaml:6: api.web_host: \"y\" is not an IP address; write one such as 127.0.0.1, 0.0.0.0 or ::1",
        "warning c.yaml:7: htpp: unknown key, ignored; did you mean \"http\"?"}},
  });
}

TEST_CASE("no more than a hundred problems are shown, and how many are not") {
  std::string text = kHead + "languages:\n";
  for (int i = 0; i < 150; ++i) text += "- name: '?'\n  steps: [{command: x}]\n";
  const auto checked = check_config(text, "c.yaml");
  CHECK_EQ(checked.diagnostics.size(), 101);
  CHECK_EQ(checked.diagnostics.back().text, "c.yaml: 50 more problems are not shown");
}

TEST_CASE("a configuration file of the original loads as it is") {
  const auto checked = check_config(R"(apiVersion: lambdo.io/v1alpha1
kind: Config
api:
  web_host: 0.0.0.0
  web_port: 3001
  grpc_host: 0.0.0.0
  gprc_port: 50052
  bridge: lambdo1
  bridge_address: 10.0.50.1/16
vmm:
  kernel: /var/lib/lambdo/kernel/vmlinux.bin
agent:
  path: /usr/local/bin/lambdo-agent
  config: /etc/lambdo/agent.yaml
languages:
  - name: PYTHON
    version: 3.10
    initramfs: /var/lib/lambdo/initramfs/python-3.img
    steps:
      - name: Compile
        command: python -m compileall {{filename}}
        output:
          enabled: false
          debug: true
      - command: /usr/local/bin/python {{filename}}
        output:
          enabled: true
          debug: false
)",
                                    "c.yaml");
  CHECK_EQ(joined(problems_of(checked.diagnostics)), "");
  REQUIRE(checked.value);
  const Config& config = *checked.value;
  CHECK_EQ(config.api.web_host, "0.0.0.0");
  CHECK_EQ(config.api.web_port, 3001);
  CHECK_EQ(config.api.grpc_host, "0.0.0.0");
  CHECK_EQ(config.api.grpc_port, 50052);
  CHECK_EQ(config.api.bridge, "lambdo1");
  CHECK_EQ(config.api.bridge_address, "10.0.50.1/16");
  CHECK_EQ(config.vmm.kernel, "/var/lib/lambdo/kernel/vmlinux.bin");
  CHECK_EQ(config.agent.path, "/usr/local/bin/lambdo-agent");
  CHECK_EQ(config.agent.config, "/etc/lambdo/agent.yaml");
  REQUIRE_EQ(config.languages.size(), 1);
  const engine::Language& python = config.languages[0];
  CHECK_EQ(python.name, "PYTHON");
  CHECK_EQ(python.version, "3.10");
  CHECK_EQ(python.initramfs, "/var/lib/lambdo/initramfs/python-3.img");
  REQUIRE_EQ(python.steps.size(), 2);
  CHECK_EQ(python.steps[0].name, "Compile");
  CHECK_EQ(python.steps[0].command, "python -m compileall {{filename}}");
  CHECK_FALSE(python.steps[0].output_enabled);
  CHECK(python.steps[0].output_debug);
  CHECK(python.steps[1].output_enabled);
  CHECK_FALSE(python.steps[1].output_debug);
}

TEST_CASE("older spellings of the original's keys and placeholders are understood") {
  const Config config = parse_config(kHead + R"(
api: {host: localhost, port: 8080, ip: 10.0.50.0/8, grpc_port: 7}
languages:
- name: node
  version: 12
  steps: [{command: "node {{fileName}} {{ args }} {{.Go}} {{{filename}}"}]
)",
                                     "c.yaml")
                            .value();
  CHECK_EQ(config.api.web_host, "127.0.0.1");
  CHECK_EQ(config.api.web_port, 8080);
  CHECK_EQ(config.api.bridge_address, "10.0.50.0/8");
  CHECK_EQ(config.api.grpc_host, "10.0.50.0");
  CHECK_EQ(config.api.grpc_port, 7);
  CHECK_EQ(config.languages[0].steps[0].command, "node {{filename}} {{args}} {{.Go}} {{{filename}}");
}

TEST_CASE("agents that come over TCP are those of languages with an initramfs") {
  const std::string languages = R"(
languages:
- {name: old, initramfs: old.img, steps: [{command: "true"}]}
- {name: new, image: "python:3", steps: [{command: "true"}]}
)";
  const Config tcp = parse_config(kHead + "agent: {transport: tcp}" + languages, "c.yaml").value();
  CHECK_EQ(tcp.agent.transport, AgentTransport::tcp);
  CHECK(tcp.languages[0].has_own_init);
  CHECK_FALSE(tcp.languages[1].has_own_init);
  const Config vsock = parse_config(kHead + "agent: {transport: vsock}" + languages, "c.yaml").value();
  CHECK_FALSE(vsock.languages[0].has_own_init);
}

TEST_CASE("what a file leaves out has the documented default") {
  const Config config = parse_config(kHead + kLanguages + "vmm:\napi: {web_port: }\n", "c.yaml").value();
  CHECK(config.warnings.empty());
  CHECK_EQ(config.state_dir, "/var/lib/lambdo");
  CHECK_EQ(config.vmm.engine, EngineChoice::automatic);
  CHECK_EQ(config.agent.transport, AgentTransport::vsock);
  CHECK_EQ(config.api.web_host, "127.0.0.1");
  CHECK_EQ(config.api.web_port, 3000);
  CHECK_EQ(config.api.grpc_host, "192.168.10.1");
  CHECK_EQ(config.api.grpc_port, 50051);
  CHECK_EQ(config.api.bridge, "lambdo0");
  CHECK_EQ(config.api.bridge_address, "192.168.10.1/24");
  CHECK(config.limits.standard == engine::Limits{});
  CHECK(config.limits.maximum == engine::Limits{60'000, 60'000, 2048, 16 << 20, 1024, 1024});
  CHECK_GE(config.runner.max_running, 8);
  CHECK_EQ(config.runner.queue_length, 1024);
  CHECK_EQ(config.runner.queue_timeout_ms, 30'000);
  CHECK_EQ(config.runner.drain_timeout_ms, 30'000);
  CHECK_EQ(config.http.max_body_bytes, 8'388'608);
  CHECK_EQ(config.http.max_header_bytes, 32'768);
  CHECK_EQ(config.http.max_buffered_bytes, 536'870'912);
  CHECK_EQ(config.http.min_write_bytes_per_s, 16'384);
  CHECK_EQ(config.http.max_connections, 4096);
  CHECK_EQ(config.http.header_timeout_ms, 10'000);
  CHECK_EQ(config.http.body_timeout_ms, 30'000);
  CHECK_EQ(config.http.idle_timeout_ms, 75'000);
  CHECK_EQ(config.http.write_timeout_ms, 30'000);
  CHECK_EQ(config.log.level, log::Level::info);
  CHECK_EQ(config.log.format, log::Format::text);
  const engine::Language& language = config.languages[0];
  CHECK_EQ(language.version, "");
  CHECK_EQ(language.warm, 1);
  CHECK(language.limits == engine::Limits{});
  CHECK(language.steps[0].output_enabled);
  CHECK_FALSE(language.steps[0].output_debug);
}

TEST_CASE("limits come from the language, else from the defaults, which a lower maximum lowers") {
  const Config config = parse_config(kHead + R"(
limits:
  default: {cpu_ms: 3000}
  max: {wall_ms: 5000}
languages:
- {name: a, limits: {processes: 7}, warm: 0, rootfs: /r, vm: {memory_mb: 512, vcpus: 2}, environment: {B: 1.0, A: ""}, steps: [{command: x}]}
)",
                                     "c.yaml")
                            .value();
  CHECK(config.limits.standard == engine::Limits{.wall_ms = 5000, .cpu_ms = 3000});
  const engine::Language& language = config.languages[0];
  CHECK(language.limits == engine::Limits{.wall_ms = 5000, .cpu_ms = 3000, .processes = 7});
  CHECK_EQ(language.warm, 0);
  CHECK_EQ(language.rootfs, "/r");
  CHECK_EQ(language.vm_memory_mb, 512);
  CHECK_EQ(language.vcpus, 2);
  const std::vector<std::pair<std::string, std::string>> environment = {{"A", ""}, {"B", "1.0"}};
  CHECK(language.environment == environment);
}

TEST_CASE("anchors and merge keys work, and what a map says itself wins") {
  const Config config = parse_config(kHead + R"(
languages:
- &base {name: a, version: 1, warm: 3, steps: &steps [{command: x}]}
- {<<: *base, version: 2}
- {<<: [{name: c}, *base], warm: 4}
)",
                                     "c.yaml")
                            .value();
  REQUIRE_EQ(config.languages.size(), 3);
  CHECK_EQ(config.languages[1].name, "a");
  CHECK_EQ(config.languages[1].version, "2");
  CHECK_EQ(config.languages[1].warm, 3);
  CHECK_EQ(config.languages[2].name, "c");
  CHECK_EQ(config.languages[2].warm, 4);
  CHECK_EQ(config.languages[2].steps.size(), 1);
}

/// Nine levels of nine aliases each: 387 million values, were they all visited.
static std::string aliases_of_aliases(std::string_view innermost, std::string_view open,
                                      std::string_view close) {
  std::string text = "x0: &a0 " + std::string(innermost) + "\n";
  for (int level = 1; level <= 9; ++level) {
    text += "x" + std::to_string(level) + ": &a" + std::to_string(level) + " " + std::string(open);
    for (int i = 0; i < 9; ++i) text += (i > 0 ? ", *a" : "*a") + std::to_string(level - 1);
    text += std::string(close) + "\n";
  }
  return text;
}

TEST_CASE("hostile files are refused or read in bounded time") {
  const std::string merges = aliases_of_aliases("{b: 1}", "{<<: [", "]}");
  std::string many_steps = kHead + "s: &s [";
  for (int i = 0; i < 60; ++i)
    many_steps += "{command: x, output: &o" + std::to_string(i) + " {enabled: true}},";
  many_steps += "]\nl: &l {name: a, steps: *s}\nlanguages: [";
  for (int i = 0; i < 250; ++i) many_steps += "*l,";
  many_steps += "]\n";
  const std::vector<std::string> files = {
      kHead + kLanguages + aliases_of_aliases("[b]", "[", "]"),
      kHead + merges + "languages: [{<<: *a9, name: a, steps: [{command: x}]}]\n",
      kHead + "languages: &a\n- <<: *a\n",
      kHead + "api: &a {<<: [*a, *a, *a]}\n" + kLanguages,
      many_steps,
      kHead + "api: " + std::string(500'000, '['),
      kHead + "api: " + std::string(500'000, '{'),
      kHead + "api: {" + std::string(300'000, '?') + "}",
      std::string((1 << 20) + 1, '#'),
      std::string(1 << 20, '\0'),
      std::string(1 << 20, '\xff'),
  };
  for (size_t i = 0; i < files.size(); ++i) {
    CAPTURE(i);
    const auto start = std::chrono::steady_clock::now();
    const auto checked = check_config(files[i], "c.yaml");
    CHECK_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
    // The first only repeats itself under keys that nobody reads.
    if (i > 0) CHECK_FALSE(checked.value.has_value());
  }
  CHECK_EQ(check_config(files[1], "c.yaml").diagnostics.at(0).text,
           "c.yaml:13: aliases repeat more than 100000 values; write fewer of them or name fewer things with "
           "one anchor");
  CHECK_EQ(check_config(files[8], "c.yaml").diagnostics.at(0).text,
           "c.yaml:1: is 1048577 bytes long; write at most 1048576");
}

TEST_CASE("many different keys take time in proportion") {
  std::string text = kHead + kLanguages;
  for (int i = 0; i < 40'000; ++i) text += "key" + std::to_string(i) + ": 1\n";
  const auto start = std::chrono::steady_clock::now();
  const auto checked = check_config(text, "c.yaml");
  CHECK_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  CHECK_EQ(checked.diagnostics.size(), 101);
  CHECK_EQ(checked.diagnostics.back().text, "c.yaml: 39900 more problems are not shown");
}

TEST_CASE("an agent's configuration has its own keys and defaults") {
  const std::string head = "apiVersion: lambdo.io/v1alpha1\nkind: AgentConfig\n";
  const AgentConfig defaults = parse_agent_config(head, "a.yaml").value();
  CHECK_EQ(defaults.remote_port, 50051);
  CHECK_EQ(defaults.remote_host, "");
  CHECK_EQ(defaults.local_port, 0);
  CHECK_EQ(defaults.local_host, "0.0.0.0");
  const AgentConfig written =
      parse_agent_config(
          head + "grpc: {remote_port: 1, remote_host: '::1', local_port: 2, local_host: 1.2.3.4}", "a.yaml")
          .value();
  CHECK_EQ(written.remote_port, 1);
  CHECK_EQ(written.remote_host, "::1");
  CHECK_EQ(written.local_port, 2);
  CHECK_EQ(written.local_host, "1.2.3.4");
  CHECK_EQ(parse_agent_config(kHead + "grpc: {remote_port: 0}\n", "a.yaml").error().message,
           "a.yaml:2: kind: this is a server's configuration; check it without --agent and --language\n"
           "a.yaml:3: grpc.remote_port: 0 is out of range; write a whole number from 1 to 65535");
}

TEST_CASE("the examples of docs/configuration.md are free of problems") {
  const std::string page = read_config_file(LAMBDO_SOURCE_ROOT "/docs/configuration.md").value();
  static const std::string kFence = "```yaml\n";
  int servers = 0;
  int agents = 0;
  for (size_t at = page.find(kFence); at != std::string::npos; at = page.find(kFence, at + 1)) {
    const size_t start = at + kFence.size();
    const std::string text = page.substr(start, page.find("```", start) - start);
    const bool is_agent = text.contains("kind: AgentConfig");
    ++(is_agent ? agents : servers);
    const auto found = is_agent
                           ? check_agent_config(text, LAMBDO_SOURCE_ROOT "/docs/configuration.md").diagnostics
                           : check_config(text, LAMBDO_SOURCE_ROOT "/docs/configuration.md").diagnostics;
    CHECK_EQ(joined(problems_of(found)), "");
  }
  CHECK_EQ(servers, 3);
  CHECK_EQ(agents, 1);
}

TEST_CASE("a file that cannot be read is named") {
  const Error error = load_config("/nonexistent/c.yaml").error();
  CHECK_EQ(error.code, Code::not_found);
  CHECK_EQ(error.message,
           "--config: open /nonexistent/c.yaml: No such file or directory; name an existing file");
}

}  // namespace lambdo::config
