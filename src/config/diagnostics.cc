#include "config/diagnostics.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/text.h"

namespace lambdo::config {

void Diagnostics::add(Severity severity, int line, std::string_view key, std::string_view message) {
  if (closed_) return;
  if (severity == Severity::error) has_errors_ = true;
  if (found_.size() == kMaxCount) {
    ++not_shown_;
    return;
  }
  std::string text = file_name_ + ":" + std::to_string(line) + ": ";
  if (!key.empty()) text.append(key).append(": ");
  text += message;
  const auto place = std::ranges::upper_bound(found_, line, {}, &Diagnostic::line);
  found_.insert(place, {severity, line, std::move(text)});
}

void Diagnostics::error(int line, std::string_view key, std::string_view message) {
  add(Severity::error, line, key, message);
}

void Diagnostics::warning(int line, std::string_view key, std::string_view message) {
  add(Severity::warning, line, key, message);
}

void Diagnostics::fatal(int line, std::string_view message) {
  if (closed_) return;
  found_.clear();
  not_shown_ = 0;
  add(Severity::error, line, {}, message);
  closed_ = true;
}

std::vector<Diagnostic> Diagnostics::take() {
  if (not_shown_ > 0) {
    const int line = found_.back().line;
    found_.push_back({has_errors_ ? Severity::error : Severity::warning, line,
                      file_name_ + ": " + std::to_string(not_shown_) + " more problems are not shown"});
    not_shown_ = 0;
  }
  return std::exchange(found_, {});
}

std::string quoted(std::string_view text) {
  static constexpr size_t kMaxBytes = 60;
  std::string out;
  if (text.size() <= kMaxBytes) {
    append_json_string(out, text);
    return out;
  }
  append_json_string(out, std::string(text.substr(0, kMaxBytes)) + "...");
  return out;
}

/// Edits (insert, delete, replace, swap neighbours) from `a` to `b`: the optimal string alignment distance.
static size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> above(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

std::string_view nearest(std::string_view text, const std::vector<std::string_view>& candidates) {
  static constexpr size_t kMaxBytes = 64;
  if (text.size() > kMaxBytes) return {};
  const std::string wanted = to_lower(text);
  std::string_view best;
  size_t best_distance = 3;
  for (const std::string_view candidate : candidates) {
    const size_t allowed = std::max<size_t>(1, std::min(wanted.size(), candidate.size()) / 3);
    const size_t distance = edit_distance(wanted, to_lower(candidate));
    if (distance > allowed || distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

}  // namespace lambdo::config
