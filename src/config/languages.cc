#include "config/languages.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "config/network.h"
#include "config/values.h"
#include "image/image_source.h"
#include "kvm/memory_layout.h"

namespace lambdo::config {

static constexpr size_t kMaxLanguages = 256;
static constexpr size_t kMaxSteps = 64;
static constexpr size_t kMaxEnvironment = 256;
static constexpr uint64_t kMaxWarm = 1000;
static constexpr uint64_t kMaxCpuPercent = 100'000;
static constexpr uint32_t kDefaultWarm = 1;
static constexpr uint64_t kMinVmMemoryMb = kvm::kMinRamBytes / kvm::kMiB;
static constexpr uint64_t kMaxVmMemoryMb = kvm::kMaxRamBytes / kvm::kMiB;

struct LimitField {
  std::string_view key;
  uint64_t engine::Limits::* member;
};
static constexpr std::array<LimitField, 6> kLimitFields = {{
    {"wall_ms", &engine::Limits::wall_ms},
    {"cpu_ms", &engine::Limits::cpu_ms},
    {"memory_mb", &engine::Limits::memory_mb},
    {"output_bytes", &engine::Limits::output_bytes},
    {"processes", &engine::Limits::processes},
    {"disk_mb", &engine::Limits::disk_mb},
}};

engine::Limits highest_limits() {
  return {kMaxTimeMs, kMaxTimeMs, 1 << 20, 16 << 20, 65536, 1 << 20};
}

engine::Limits lowered_to(engine::Limits limits, const engine::Limits& maximum) {
  for (const LimitField& field : kLimitFields) {
    limits.*field.member = std::min(limits.*field.member, maximum.*field.member);
  }
  return limits;
}

void read_limits(YamlMap map, engine::Limits& limits, const engine::Limits& maximum) {
  const engine::Limits highest = highest_limits();
  for (const LimitField& field : kLimitFields) {
    const auto value = map.find(field.key);
    const auto number = value ? value->number(1, highest.*field.member) : std::nullopt;
    if (!number) continue;
    if (const uint64_t most = maximum.*field.member; *number > most) {
      value->error(std::to_string(*number) + " is more than limits.max allows; write at most " +
                   std::to_string(most) + ", or raise limits.max." + std::string(field.key));
      continue;
    }
    limits.*field.member = *number;
  }
  map.warn_of_unknown_keys();
}

static std::optional<std::string> language_word(const std::optional<YamlValue>& value) {
  auto text = value ? value->text() : std::nullopt;
  if (!text || is_language_word(*text)) return text;
  value->error(quoted(*text) + " is not allowed; write 1 to 64 letters, digits or any of . _ + # -");
  return std::nullopt;
}

static void read_environment(const YamlValue& value, engine::Language& language) {
  auto entries = value.map().entries();
  if (entries.size() > kMaxEnvironment) {
    return value.error("has " + std::to_string(entries.size()) + " entries; write at most " +
                       std::to_string(kMaxEnvironment));
  }
  for (const auto& [name, variable] : entries) {
    const bool has_bad_character = name.find_first_of(std::string_view("=\0", 2)) != std::string::npos;
    if (name.empty() || has_bad_character) {
      variable.error("is not a variable's name; write letters, digits and _");
      continue;
    }
    if (auto text = variable.text()) language.environment.emplace_back(name, std::move(*text));
  }
}

static engine::Step read_step(const YamlValue& value) {
  YamlMap map = value.map();
  engine::Step step;
  map.read_text("name", step.name);
  const auto command = map.require("command", "write the shell command of this step");
  if (auto text = command ? command->text() : std::nullopt) {
    if (text->find_first_not_of(" \t\r\n") == std::string::npos)
      command->error("is empty; write a shell command");
    if (auto normal = normal_command(*command, *text)) step.command = std::move(*normal);
  }
  if (const auto output = map.find("output")) {
    YamlMap output_map = output->map();
    output_map.read_bool("enabled", step.output_enabled);
    output_map.read_bool("debug", step.output_debug);
    output_map.warn_of_unknown_keys();
  }
  map.warn_of_unknown_keys();
  return step;
}

/// What holds for the microVMs of one language only.
static void read_vm(YamlMap map, engine::Language& language) {
  map.read_number("memory_mb", language.vm_memory_mb, kMinVmMemoryMb, kMaxVmMemoryMb);
  map.read_number("vcpus", language.vcpus, 1, kvm::kMaxVcpus);
  map.warn_of_unknown_keys();
}

/// What guests are made of: one of `image`, or `rootfs` and `initramfs`. What an entry says goes before what
/// it includes.
static void read_contents(YamlMap& map, engine::Language& language) {
  if (map.says("rootfs") || map.says("initramfs")) map.drop_inherited("image");
  if (map.says("image")) {
    map.drop_inherited("rootfs");
    map.drop_inherited("initramfs");
  }
  read_path(map, "rootfs", language.rootfs);
  read_path(map, "initramfs", language.initramfs);
  const auto image = map.find("image");
  const auto text = image ? image->text() : std::nullopt;
  if (!text) return;
  if (const auto source = image::ImageSource::parse(*text); !source) {
    return image->error(source.error().message +
                        "; write a reference such as docker.io/library/python:3.12-slim, oci:FOLDER or "
                        "docker-archive:FILE");
  }
  const std::string_view other = !language.rootfs.empty()      ? "rootfs"
                                 : !language.initramfs.empty() ? "initramfs"
                                                               : "";
  if (!other.empty()) {
    return image->error("is there beside " + std::string(other) +
                        ", and guests are made of one of them; remove " + "image or " + std::string(other));
  }
  language.image = *text;
}

static engine::Language read_language(YamlMap& map, const Config& config) {
  engine::Language language;
  language.limits = config.limits.standard;
  language.warm = kDefaultWarm;
  language.name = language_word(map.require("name", "write the name that requests use")).value_or("");
  language.version = language_word(map.find("version")).value_or("");
  read_contents(map, language);
  map.read_number("warm", language.warm, 0, kMaxWarm);
  map.read_number("cpu_percent", language.cpu_percent, 0, kMaxCpuPercent);
  if (const auto vm = map.find("vm")) read_vm(vm->map(), language);
  if (const auto environment = map.find("environment")) read_environment(*environment, language);
  if (const auto network = map.find("network")) read_policy(*network, language.network);
  if (const auto limits = map.find("limits"))
    read_limits(limits->map(), language.limits, config.limits.maximum);
  if (const auto steps = map.require("steps", "write at least one step with its command")) {
    for (const YamlValue& step : steps->list(kMaxSteps, "step")) language.steps.push_back(read_step(step));
  }
  map.warn_of_unknown_keys();
  return language;
}

static std::string path_beside(const std::string& file, const std::string& path) {
  const size_t slash = file.rfind('/');
  return path.starts_with('/') || slash == std::string::npos ? path : file.substr(0, slash + 1) + path;
}

/// The keys of the file that `value` names, for `map` to have where it does not say them itself. False where
/// the file cannot be read, and that has been told: what would have been in it is not missing then.
static bool include_file(const YamlValue& value, const std::string& file_name, YamlMap& map) {
  const auto path = value.text();
  if (!path) return false;
  if (path->empty()) {
    value.error("is empty; write the path of a file of kind Language");
    return false;
  }
  const std::string file = path_beside(file_name, *path);
  const auto text = read_config_file(file);
  if (!text) {
    value.error(text.error().message + " (paths are relative to this file's folder)");
    return false;
  }
  YamlContext& context = value.context().add_file(file);
  const auto document = parse_yaml(context, *text);
  if (!document) return false;
  YamlMap base = document->map();
  read_header(base, "Language");
  if (const auto nested = base.find("include")) {
    nested->error("an included file cannot include another; copy what it needs into it");
  }
  base.drop("include");
  map.inherit(base);
  return true;
}

void read_language_definition(YamlMap& root, engine::Language& language) {
  read_header(root, "Language");
  language = read_language(root, {});
}

/// Requests name languages without regard to case, so two that differ in case only are the same.
static void refuse_duplicate(const std::vector<engine::Language>& languages, const std::vector<int>& lines,
                             const engine::Language& added, const YamlValue& value) {
  for (size_t i = 0; i < languages.size() && !added.name.empty(); ++i) {
    if (!equals_ignoring_case(languages[i].name, added.name) || languages[i].version != added.version)
      continue;
    const std::string version =
        added.version.empty() ? "without a version" : "version " + quoted(added.version);
    return value.error("language " + quoted(added.name) + " " + version + " is on line " +
                       std::to_string(lines[i]) + " already; give one of them another version");
  }
}

void read_languages(YamlMap& root, const std::string& file_name, Config& config) {
  const auto value = root.require("languages", "write at least one language with its name and steps");
  if (!value) return;
  std::vector<int> lines;
  for (const YamlValue& item : value->list(kMaxLanguages, "language")) {
    YamlMap map = item.map();
    if (const auto include = map.find("include"); include && !include_file(*include, file_name, map))
      continue;
    engine::Language language = read_language(map, config);
    refuse_duplicate(config.languages, lines, language, item);
    config.languages.push_back(std::move(language));
    lines.push_back(item.line());
  }
}

}  // namespace lambdo::config
