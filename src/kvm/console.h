#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace lambdo::kvm {

/// The last bytes that a guest wrote to its serial port. Thread-safe: vCPU threads write, others read. The
/// guest chooses every byte: escape what is shown to people or logged.
class Console {
 public:
  static constexpr size_t kDefaultBytes = 64 << 10;

  explicit Console(size_t max_bytes = kDefaultBytes) : max_bytes_(std::max<size_t>(max_bytes, 1)) {}

  void append(char byte);
  /// At most max_bytes, oldest first.
  [[nodiscard]] std::string text() const;
  /// All that were ever written.
  [[nodiscard]] uint64_t total_bytes() const;

 private:
  const size_t max_bytes_;
  mutable std::mutex mutex_;
  std::string ring_;  // grows to max_bytes_, then wraps
  uint64_t total_bytes_ = 0;
};

/// The last `count` lines that are not empty, without carriage returns, joined by newlines. Bytes that are
/// not printable ASCII show as '?'.
std::string last_console_lines(std::string_view console, size_t count);

/// Whether the kernel said that it panics: then a reset was no orderly reboot.
bool console_shows_panic(std::string_view console);

}  // namespace lambdo::kvm
