#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

/// What the fuzzers share that read their input as a program.
namespace lambdo::fuzz {

/// Reads a fuzzer's input value by value; zeros at its end.
class Input {
 public:
  explicit Input(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool is_empty() const { return bytes_.empty(); }

  template <typename T>
  T take() {
    T value{};
    const size_t count = std::min(sizeof value, bytes_.size());
    std::memcpy(&value, bytes_.data(), count);
    bytes_ = bytes_.subspan(count);
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
};

}  // namespace lambdo::fuzz
