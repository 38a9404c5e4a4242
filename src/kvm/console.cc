#include "kvm/console.h"

#include <algorithm>
#include <vector>

namespace lambdo::kvm {

void Console::append(char byte) {
  const std::lock_guard lock(mutex_);
  if (ring_.size() < max_bytes_) {
    ring_.push_back(byte);
  } else {
    ring_[total_bytes_ % max_bytes_] = byte;
  }
  ++total_bytes_;
}

std::string Console::text() const {
  const std::lock_guard lock(mutex_);
  if (total_bytes_ <= max_bytes_) return ring_;
  const size_t oldest = total_bytes_ % max_bytes_;
  return ring_.substr(oldest) + ring_.substr(0, oldest);
}

uint64_t Console::total_bytes() const {
  const std::lock_guard lock(mutex_);
  return total_bytes_;
}

std::string last_console_lines(std::string_view console, size_t count) {
  std::vector<std::string> lines;
  while (!console.empty() && lines.size() < count) {
    const size_t newline = console.rfind('\n');
    std::string line(newline == std::string_view::npos ? console : console.substr(newline + 1));
    console = newline == std::string_view::npos ? std::string_view() : console.substr(0, newline);
    std::erase(line, '\r');
    std::ranges::replace_if(line, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
    if (!line.empty()) lines.push_back(std::move(line));
  }
  std::string joined;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    if (!joined.empty()) joined += '\n';
    joined += *line;
  }
  return joined;
}

bool console_shows_panic(std::string_view console) {
  return console.contains("Kernel panic - not syncing");
}

}  // namespace lambdo::kvm
