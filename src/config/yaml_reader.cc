#include "config/yaml_reader.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "base/text.h"

namespace lambdo::config {

static constexpr size_t kMaxDocumentBytes = 1 << 20;

/// 1-based; values that aliases bring in have the place of their anchor, before `least`, where they are used.
static int line_of(const YAML::Node& node, int least) {
  return std::max(node.Mark().line + 1, least);
}

static std::string_view kind_of(const YAML::Node& node) {
  if (node.IsMap()) return "a map";
  if (node.IsSequence()) return "a list";
  return node.IsNull() ? "empty" : "a single value";
}

YamlContext& YamlContext::add_file(const std::string& file_name) {
  included_.push_back(std::make_unique<YamlContext>(file_name));
  included_.back()->parent_ = this;
  return *included_.back();
}

bool YamlContext::has_errors() const {
  return diagnostics_.has_errors() ||
         std::ranges::any_of(included_, [](const auto& file) { return file->has_errors(); });
}

std::vector<Diagnostic> YamlContext::take_all() {
  std::vector<Diagnostic> all = diagnostics_.take();
  std::set<std::string, std::less<>> told;
  for (const auto& file : included_) {
    for (Diagnostic& diagnostic : file->take_all()) {
      if (told.insert(diagnostic.text).second) all.push_back(std::move(diagnostic));
    }
  }
  return all;
}

bool YamlContext::spend(int line) {
  uint64_t& visits = parent_ != nullptr ? parent_->visits_ : visits_;
  if (++visits <= kMaxVisits) return true;
  diagnostics_.fatal(line, "aliases repeat more than " + std::to_string(kMaxVisits) +
                               " values; write fewer of them or name fewer things with one anchor");
  return false;
}

std::optional<std::string> YamlValue::text() const {
  if (!node_.IsScalar()) {
    error("must be text, not " + std::string(kind_of(node_)) + "; write one value after the key");
    return std::nullopt;
  }
  const std::string& written = node_.Scalar();
  if (written.find('\0') != std::string::npos) {
    error("contains a NUL character; remove it");
    return std::nullopt;
  }
  return written;
}

std::optional<bool> YamlValue::boolean() const {
  const std::string written = node_.IsScalar() ? to_lower(node_.Scalar()) : "";
  if (written == "true" || written == "false") return written == "true";
  const std::string found = node_.IsScalar() ? quoted(node_.Scalar()) : std::string(kind_of(node_));
  error("must be true or false, not " + found + "; write one of the two");
  return std::nullopt;
}

std::optional<uint64_t> YamlValue::number(uint64_t min, uint64_t max) const {
  const std::string range = "a whole number from " + std::to_string(min) + " to " + std::to_string(max);
  if (!node_.IsScalar()) {
    error("must be a number, not " + std::string(kind_of(node_)) + "; write " + range);
    return std::nullopt;
  }
  const std::string& text = node_.Scalar();
  const auto parsed = parse_uint(text);
  if (parsed && *parsed >= min && *parsed <= max) return parsed;
  // Negative ones, and those with more digits than 64 bits have, are numbers too.
  const size_t first_digit = text.starts_with('-') ? 1 : 0;
  const bool is_number =
      first_digit < text.size() && text.find_first_not_of("0123456789", first_digit) == std::string::npos;
  error((is_number ? text + " is out of range" : "must be a number, not " + quoted(text)) + "; write " +
        range);
  return std::nullopt;
}

void YamlValue::wrong_choice(const std::string& text, const std::vector<std::string_view>& names) const {
  std::string offered;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) offered += i + 1 == names.size() ? " or " : ", ";
    offered += names[i];
  }
  error(quoted(text) + " is not known here; write " + offered);
}

YamlMap YamlValue::map() const {
  return YamlMap(*this);
}

std::vector<YamlValue> YamlValue::list(size_t max_count, std::string_view what) const {
  if (!node_.IsSequence()) {
    error("must be a list, not " + std::string(kind_of(node_)) + "; start each entry with \"- \"");
    return {};
  }
  if (node_.size() == 0) {
    error("is an empty list; write at least one " + std::string(what));
    return {};
  }
  if (node_.size() > max_count) {
    error("has " + std::to_string(node_.size()) + " entries; write at most " + std::to_string(max_count));
    return {};
  }
  std::vector<YamlValue> values;
  for (const auto& item : node_) {
    if (!context_->spend(line_)) return {};
    const std::string path = path_ + "[" + std::to_string(values.size()) + "]";
    values.emplace_back(*context_, item, path, line_of(item, line_));
  }
  return values;
}

YamlMap::YamlMap(const YamlValue& value) : context_(value.context_), path_(value.path_), line_(value.line_) {
  if (!value.node_.IsMap()) {
    value.error("must be a map of keys, not " + std::string(kind_of(value.node_)) +
                "; write \"key: value\" lines");
    return;
  }
  usable_ = true;
  collect(value.node_, line_, 0);
}

void YamlMap::collect(const YAML::Node& node, int line, int depth) {
  if (!context_->spend(line)) return;
  std::map<std::string, int> own_keys;
  std::vector<std::pair<YAML::Node, int>> merged;
  for (const auto& pair : node) {
    const int key_line = line_of(pair.first, depth == 0 ? 0 : line);
    if (!context_->spend(key_line)) return;
    if (!pair.first.IsScalar()) {
      context_->diagnostics().error(
          key_line, path_, "a key must be text, not " + std::string(kind_of(pair.first)) + "; name it");
      continue;
    }
    const std::string& key = pair.first.Scalar();
    // Only the plain << merges; quoted, its tag is "!".
    if (key == "<<" && pair.first.Tag() == "?") {
      merged.emplace_back(pair.second, key_line);
      continue;
    }
    const auto [own, is_first] = own_keys.emplace(key, key_line);
    if (!is_first) {
      context_->diagnostics().error(
          key_line, path_of(key),
          "is here a second time, first on line " + std::to_string(own->second) + "; remove one of the two");
      continue;
    }
    entries_.try_emplace(
        key, Entry{.value = pair.second, .line = key_line, .context = context_, .path = path_of(key)});
  }
  for (const auto& [source, source_line] : merged) collect_merged(source, source_line, depth + 1);
}

void YamlMap::collect_merged(const YAML::Node& node, int line, int depth) {
  if (depth > kMaxMergeDepth) {
    context_->diagnostics().fatal(line, "merge keys (<<) are nested deeper than " +
                                            std::to_string(kMaxMergeDepth) + " levels; merge fewer maps");
    return;
  }
  if (node.IsMap()) return collect(node, line, depth);
  bool all_maps = node.IsSequence();
  for (const auto& item : node) all_maps = all_maps && item.IsMap();
  if (!all_maps) {
    context_->diagnostics().error(line, path_of("<<"),
                                  "must be a map or a list of maps; write \"<<: *anchor\" of one");
    return;
  }
  for (const auto& item : node) {
    if (!context_->spend(line)) return;
    collect(item, line, depth);
  }
}

std::string YamlMap::path_of(std::string_view key) const {
  std::string name(key);
  const bool plain = key.size() <= 60 && !key.empty() &&
                     std::ranges::all_of(key, [](char c) { return c > ' ' && c < 0x7f; });
  if (!plain) name = quoted(key);
  return path_.empty() ? name : path_ + "." + name;
}

YamlValue YamlMap::value_of(const Entry& entry) {
  return YamlValue(*entry.context, entry.value, entry.path, line_of(entry.value, entry.line));
}

void YamlMap::inherit(const YamlMap& base) {
  for (const auto& [key, entry] : base.entries_) {
    const auto [place, is_new] = entries_.try_emplace(key, entry);
    if (is_new) place->second.inherited = true;
  }
}

bool YamlMap::says(std::string_view key) const {
  const auto found = entries_.find(key);
  return found != entries_.end() && !found->second.inherited;
}

void YamlMap::drop(std::string_view key) {
  if (const auto found = entries_.find(key); found != entries_.end()) entries_.erase(found);
}

void YamlMap::drop_inherited(std::string_view key) {
  const auto found = entries_.find(key);
  if (found != entries_.end() && found->second.inherited) entries_.erase(found);
}

std::optional<YamlValue> YamlMap::find(std::string_view key) {
  known_keys_.emplace_back(key);
  const auto found = entries_.find(key);
  if (found == entries_.end()) return std::nullopt;
  found->second.known = true;
  if (found->second.value.IsNull()) return std::nullopt;
  return value_of(found->second);
}

std::optional<YamlValue> YamlMap::require(std::string_view key, std::string_view remedy) {
  auto value = find(key);
  if (!value && usable_) {
    const auto empty = entries_.find(key);
    const int line = empty == entries_.end() ? line_ : empty->second.line;
    const std::string_view what = empty == entries_.end() ? "is missing; " : "is empty; ";
    context_->diagnostics().error(line, path_of(key), std::string(what).append(remedy));
  }
  return value;
}

std::vector<std::pair<std::string, YamlValue>> YamlMap::entries() {
  std::vector<std::pair<std::string, YamlValue>> all;
  for (auto& [key, entry] : entries_) {
    entry.known = true;
    all.emplace_back(key, value_of(entry));
  }
  return all;
}

void YamlMap::read_text(std::string_view key, std::string& target) {
  const auto value = find(key);
  if (auto text = value ? value->text() : std::nullopt) target = std::move(*text);
}

void YamlMap::read_bool(std::string_view key, bool& target) {
  const auto value = find(key);
  if (const auto flag = value ? value->boolean() : std::nullopt) target = *flag;
}

void YamlMap::warn_of_unknown_keys() {
  const std::vector<std::string_view> candidates(known_keys_.begin(), known_keys_.end());
  for (auto& [key, entry] : entries_) {
    if (std::exchange(entry.known, true)) continue;
    const std::string_view meant = nearest(key, candidates);
    const std::string remedy = meant.empty() ? "remove it" : "did you mean \"" + std::string(meant) + "\"?";
    entry.context->diagnostics().warning(entry.line, entry.path, "unknown key, ignored; " + remedy);
  }
}

std::optional<YamlValue> parse_yaml(YamlContext& context, const std::string& text) {
  Diagnostics& diagnostics = context.diagnostics();
  if (text.size() > kMaxDocumentBytes) {
    diagnostics.fatal(1, "is " + std::to_string(text.size()) + " bytes long; write at most " +
                             std::to_string(kMaxDocumentBytes));
    return std::nullopt;
  }
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      diagnostics.error(line_of(documents[1], 1), {},
                        "is a second YAML document; put it into a file of its own");
    }
    if (documents.empty() || documents[0].IsNull()) {
      diagnostics.error(1, {}, "is empty; start it with apiVersion and kind");
      return std::nullopt;
    }
    return YamlValue(context, documents[0], "", line_of(documents[0], 1));
  } catch (const YAML::Exception& exception) {
    diagnostics.error(exception.mark.line + 1, {},
                      "is not YAML: " + exception.msg + " (column " +
                          std::to_string(exception.mark.column + 1) + "); correct the line");
    return std::nullopt;
  }
}

}  // namespace lambdo::config
