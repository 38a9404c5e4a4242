#include "namespace/launcher_protocol.h"

#include <array>
#include <string_view>

namespace lambdo::namespaces {

using helper::malformed;

static bool has_nul(std::string_view text) {
  return text.find('\0') != std::string_view::npos;
}

helper::Protocol launcher_protocol() {
  // In the order of MessageKind.
  static constexpr std::array<helper::Shape, 10> kShapes = {{
      {3, 3, 0, 0},                  // success
      helper::kFailureShape,         // failure
      {7, 7, 4, helper::kAnyTexts},  // define
      {2, 2, 0, 0},                  // launch
      {3, 3, 0, 0},                  // set_limits
      {1, 1, 0, 0},                  // usage
      {1, 1, 0, 0},                  // destroy
      {0, 0, 0, 0},                  // stop
      {2, 2, 1, 1},                  // exited
      {0, 0, 0, helper::kAnyTexts},  // ready
  }};
  return kShapes;
}

Message encode_spec(const SandboxSpec& spec) {
  Message message{.kind = MessageKind::define,
                  .numbers = {spec.memory_mb, spec.processes, spec.disk_mb, spec.cpu_percent, spec.uid,
                              spec.gid, spec.networked},
                  .texts = {spec.name, spec.rootfs, spec.agent_path, spec.resolver_file}};
  for (const auto& [key, value] : spec.environment) {
    message.texts.push_back(key);
    message.texts.push_back(value);
  }
  return message;
}

Result<SandboxSpec> decode_spec(const Message& message) {
  constexpr uint64_t kMaxMb = uint64_t{1} << 30;
  constexpr uint64_t kMaxProcesses = uint64_t{1} << 22;
  constexpr uint64_t kMaxPercent = 100'000;
  constexpr uint64_t kMaxId = 0xffff'fffe;  // the next one means none
  SandboxSpec spec{.name = message.texts[0],
                   .rootfs = message.texts[1],
                   .agent_path = message.texts[2],
                   .memory_mb = message.numbers[0],
                   .processes = message.numbers[1],
                   .disk_mb = message.numbers[2],
                   .cpu_percent = static_cast<uint32_t>(message.numbers[3]),
                   .uid = static_cast<uint32_t>(message.numbers[4]),
                   .gid = static_cast<uint32_t>(message.numbers[5]),
                   .networked = message.numbers[6] != 0,
                   .resolver_file = message.texts[3]};
  for (const std::string& text : message.texts) {
    if (has_nul(text)) return malformed("NUL in a text");
  }
  if (message.texts.size() % 2 != 0) return malformed("environment variable without a value");
  for (size_t index = 4; index < message.texts.size(); index += 2) {
    const std::string& key = message.texts[index];
    if (key.empty() || key.find('=') != std::string::npos)
      return malformed("name of an environment variable");
    spec.environment.emplace_back(key, message.texts[index + 1]);
  }
  if (spec.memory_mb == 0 || spec.memory_mb > kMaxMb) return malformed("memory limit");
  if (spec.disk_mb == 0 || spec.disk_mb > kMaxMb) return malformed("disk limit");
  if (spec.processes == 0 || spec.processes > kMaxProcesses) return malformed("process limit");
  if (message.numbers[3] > kMaxPercent) return malformed("CPU limit");
  for (const uint64_t id : {message.numbers[4], message.numbers[5]}) {
    if (id == 0 || id > kMaxId) return malformed("user or group");
  }
  return spec;
}

}  // namespace lambdo::namespaces
