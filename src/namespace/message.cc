#include "namespace/message.h"

#include <array>
#include <cstring>

#include "base/check.h"

namespace lambdo::namespaces {

namespace {

constexpr size_t kHeaderBytes = 8;
constexpr size_t kMaxTexts = 1024;
constexpr uint16_t kAny = 0xffff;

struct Shape {
  uint8_t numbers;
  uint16_t min_texts;
  uint16_t max_texts;
};

// In the order of Kind.
constexpr std::array<Shape, 10> kShapes = {{
    {6, 3, kAny},  // define
    {2, 0, 0},     // launch
    {3, 0, 0},     // set_limits
    {1, 0, 0},     // usage
    {1, 0, 0},     // destroy
    {0, 0, 0},     // stop
    {3, 0, 0},     // success
    {2, 1, 1},     // failure
    {2, 1, 1},     // exited
    {5, 0, kAny},  // report
}};

void put(std::string& out, const auto& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename T>
  bool take(T& value) {
    if (rest_.size() < sizeof value) return false;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_ = rest_.subspan(sizeof value);
    return true;
  }
  bool take_text(std::string& text) {
    uint32_t len_bytes = 0;
    if (!take(len_bytes) || rest_.size() < len_bytes) return false;
    text.assign(reinterpret_cast<const char*>(rest_.data()), len_bytes);
    rest_ = rest_.subspan(len_bytes);
    return true;
  }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
};

std::unexpected<Error> malformed(const char* what) {
  return fail(Code::invalid_argument, std::string("malformed message: ") + what);
}

bool has_nul(std::string_view text) {
  return text.find('\0') != std::string_view::npos;
}

}  // namespace

Result<std::string> encode(const Message& message) {
  const Shape& shape = kShapes.at(static_cast<size_t>(message.kind));
  CHECK(message.numbers.size() == shape.numbers && message.texts.size() >= shape.min_texts);
  std::string out;
  put(out, message.kind);
  put(out, static_cast<uint8_t>(message.numbers.size()));
  put(out, static_cast<uint16_t>(message.texts.size()));
  put(out, message.request);
  for (const uint64_t number : message.numbers) put(out, number);
  for (const std::string& text : message.texts) {
    put(out, static_cast<uint32_t>(text.size()));
    out += text;
  }
  if (message.texts.size() > kMaxTexts || out.size() > kMaxMessageBytes) {
    return fail(Code::invalid_argument,
                "too large for the launcher: paths and environment together may have " +
                    std::to_string(kMaxMessageBytes) + " bytes and " + std::to_string(kMaxTexts) + " parts");
  }
  return out;
}

Result<Message> decode(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes || bytes.size() > kMaxMessageBytes) return malformed("length");
  Reader reader(bytes);
  uint8_t kind = 0;
  uint8_t numbers = 0;
  uint16_t texts = 0;
  Message message;
  reader.take(kind);
  reader.take(numbers);
  reader.take(texts);
  reader.take(message.request);
  if (kind >= kShapes.size()) return malformed("unknown kind");
  message.kind = static_cast<Kind>(kind);
  const Shape& shape = kShapes.at(kind);
  if (numbers != shape.numbers) return malformed("count of numbers");
  if (texts < shape.min_texts || texts > shape.max_texts || texts > kMaxTexts)
    return malformed("count of texts");
  message.numbers.resize(numbers);
  for (uint64_t& number : message.numbers) {
    if (!reader.take(number)) return malformed("cut off in a number");
  }
  message.texts.resize(texts);
  for (std::string& text : message.texts) {
    if (!reader.take_text(text)) return malformed("cut off in a text");
  }
  if (!reader.at_end()) return malformed("bytes after the end");
  return message;
}

Message encode_spec(const SandboxSpec& spec) {
  Message message{
      .kind = Kind::define,
      .numbers = {spec.memory_mb, spec.processes, spec.disk_mb, spec.cpu_percent, spec.uid, spec.gid},
      .texts = {spec.name, spec.rootfs, spec.agent_path}};
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
                   .gid = static_cast<uint32_t>(message.numbers[5])};
  for (const std::string& text : message.texts) {
    if (has_nul(text)) return malformed("NUL in a text");
  }
  if (message.texts.size() % 2 == 0) return malformed("environment variable without a value");
  for (size_t index = 3; index < message.texts.size(); index += 2) {
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

Message encode_report(const LauncherReport& report) {
  return {.kind = Kind::report,
          .numbers = {report.cgroup_version, report.memory_limited, report.pids_limited, report.cpu_limited,
                      report.own_uids},
          .texts = report.warnings};
}

LauncherReport decode_report(const Message& message) {
  return {.cgroup_version = static_cast<uint32_t>(message.numbers[0]),
          .memory_limited = message.numbers[1] != 0,
          .pids_limited = message.numbers[2] != 0,
          .cpu_limited = message.numbers[3] != 0,
          .own_uids = message.numbers[4] != 0,
          .warnings = message.texts};
}

Message encode_failure(const Error& error) {
  constexpr size_t kMaxTextBytes = 4096;
  return {.kind = Kind::failure,
          .numbers = {static_cast<uint64_t>(error.code), static_cast<uint64_t>(error.os_errno)},
          .texts = {error.message.substr(0, kMaxTextBytes)}};
}

Error decode_failure(const Message& message) {
  const bool known = message.numbers[0] <= static_cast<uint64_t>(kLastCode);
  return {.code = known ? static_cast<Code>(message.numbers[0]) : Code::internal,
          .os_errno = static_cast<int>(message.numbers[1]),
          .message = message.texts[0]};
}

}  // namespace lambdo::namespaces
