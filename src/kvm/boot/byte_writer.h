#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace lambdo::kvm {

/// Appends little-endian fields, as firmware tables and archives are made of.
class ByteWriter {
 public:
  template <std::unsigned_integral T>
  ByteWriter& put(T value) {
    return append(std::as_bytes(std::span(&value, 1)));
  }
  ByteWriter& append(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  ByteWriter& text(std::string_view text) { return append(std::as_bytes(std::span(text))); }
  ByteWriter& zeros(size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  /// Zeros up to the next multiple of `alignment`.
  ByteWriter& align(size_t alignment) { return zeros((alignment - bytes_.size() % alignment) % alignment); }

  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace lambdo::kvm
