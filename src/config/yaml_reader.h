#pragma once

#include <yaml-cpp/yaml.h>

#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/diagnostics.h"

/// Reading YAML against a schema that is code: every getter reports what does not fit, with line and key
/// path, and yields nothing then, so the caller's default stays. A null value counts as absent.
namespace lambdo::config {

class YamlMap;

/// What all values of one file share. Outlives them.
class YamlContext {
 public:
  explicit YamlContext(const std::string& file_name) : diagnostics_(file_name) {}
  YamlContext(const YamlContext&) = delete;
  YamlContext& operator=(const YamlContext&) = delete;

  [[nodiscard]] Diagnostics& diagnostics() { return diagnostics_; }
  /// The context of a file that this one includes. They share the number of values that may be visited.
  YamlContext& add_file(const std::string& file_name);
  /// Of this file and of all that it includes.
  [[nodiscard]] bool has_errors() const;
  /// This file's problems, then those of each included file; what a file that is included twice repeats,
  /// once.
  [[nodiscard]] std::vector<Diagnostic> take_all();
  /// Takes one from the number of values that may be visited. Aliases make a small file describe endless data
  /// (a cycle, or lists of lists of aliases); false, with an error, once that is what happens.
  bool spend(int line);

 private:
  static constexpr uint64_t kMaxVisits = 100'000;
  Diagnostics diagnostics_;
  YamlContext* parent_ = nullptr;
  std::vector<std::unique_ptr<YamlContext>> included_;
  uint64_t visits_ = 0;
};

/// A value with its place.
class YamlValue {
 public:
  YamlValue(YamlContext& context, const YAML::Node& node, std::string path, int line)
      : context_(&context), node_(node), path_(std::move(path)), line_(line) {}

  [[nodiscard]] int line() const { return line_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] YamlContext& context() const { return *context_; }
  void error(std::string_view message) const { context_->diagnostics().error(line_, path_, message); }
  void warning(std::string_view message) const { context_->diagnostics().warning(line_, path_, message); }

  /// The text of a scalar as it is written, so that 3.8 and 1.10 keep their spelling.
  [[nodiscard]] std::optional<std::string> text() const;
  [[nodiscard]] std::optional<bool> boolean() const;
  [[nodiscard]] bool is_map() const { return node_.IsMap(); }
  [[nodiscard]] std::optional<uint64_t> number(uint64_t min, uint64_t max) const;
  /// The value that `names` has for the text.
  template <typename T>
  [[nodiscard]] std::optional<T> choice(const std::vector<std::pair<std::string_view, T>>& names) const;
  /// An unusable (empty and silent) map where the value is none.
  [[nodiscard]] YamlMap map() const;
  /// At least one and at most `max_count` values; another number is an error. `what` names an entry: "step".
  [[nodiscard]] std::vector<YamlValue> list(size_t max_count, std::string_view what) const;

 private:
  friend YamlMap;
  void wrong_choice(const std::string& text, const std::vector<std::string_view>& names) const;

  YamlContext* context_;
  YAML::Node node_;
  std::string path_;
  int line_;
};

/// A map's entries, merge keys (<<) resolved: what the map says itself wins, then the first merged map that
/// has the key.
class YamlMap {
 public:
  explicit YamlMap(const YamlValue& value);

  /// The value of `key`, which from now on is a known key of this map.
  std::optional<YamlValue> find(std::string_view key);
  /// The same, with an error where it is absent; `remedy` says what to write.
  std::optional<YamlValue> require(std::string_view key, std::string_view remedy);
  /// What this map does not say itself it has from `base`; the values keep their places there.
  void inherit(const YamlMap& base);
  /// Whether the map says `key` itself.
  [[nodiscard]] bool says(std::string_view key) const;
  /// Forgets `key`, or only where it was inherited.
  void drop(std::string_view key);
  void drop_inherited(std::string_view key);
  /// All entries by key, which makes all of them known.
  std::vector<std::pair<std::string, YamlValue>> entries();

  void read_text(std::string_view key, std::string& target);
  void read_bool(std::string_view key, bool& target);
  /// True where the key was there and in order.
  template <std::unsigned_integral Number>
  bool read_number(std::string_view key, Number& target, uint64_t min, uint64_t max);
  template <typename T>
  void read_choice(std::string_view key, T& target, const std::vector<std::pair<std::string_view, T>>& names);

  /// Call when all keys of the schema have been asked for: warns of the others.
  void warn_of_unknown_keys();

 private:
  struct Entry {
    YAML::Node value;
    int line;
    YamlContext* context;  ///< of the file that it is in
    std::string path;
    bool known = false;
    bool inherited = false;
  };
  void collect(const YAML::Node& node, int line, int depth);
  void collect_merged(const YAML::Node& node, int line, int depth);
  [[nodiscard]] std::string path_of(std::string_view key) const;
  [[nodiscard]] static YamlValue value_of(const Entry& entry);

  static constexpr int kMaxMergeDepth = 16;
  YamlContext* context_;
  std::string path_;
  int line_;
  bool usable_ = false;
  std::map<std::string, Entry, std::less<>> entries_;
  std::vector<std::string> known_keys_;
};

/// The only document of `text`; nullopt, with an error, where it is not YAML, is too large or not a map.
std::optional<YamlValue> parse_yaml(YamlContext& context, const std::string& text);

template <typename T>
std::optional<T> YamlValue::choice(const std::vector<std::pair<std::string_view, T>>& names) const {
  const auto written = text();
  if (!written) return std::nullopt;
  std::vector<std::string_view> offered;
  for (const auto& [name, value] : names) {
    if (name == *written) return value;
    offered.push_back(name);
  }
  wrong_choice(*written, offered);
  return std::nullopt;
}

template <std::unsigned_integral Number>
bool YamlMap::read_number(std::string_view key, Number& target, uint64_t min, uint64_t max) {
  const auto value = find(key);
  const auto number = value ? value->number(min, max) : std::nullopt;
  if (number) target = static_cast<Number>(*number);
  return number.has_value();
}

template <typename T>
void YamlMap::read_choice(std::string_view key, T& target,
                          const std::vector<std::pair<std::string_view, T>>& names) {
  const auto value = find(key);
  const auto chosen = value ? value->choice(names) : std::nullopt;
  if (chosen) target = *chosen;
}

}  // namespace lambdo::config
