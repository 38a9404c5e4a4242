#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace lambdo::image {

/// SipHash-1-3 (Aumasson and Bernstein, 2012): without the key nobody can choose texts whose hashes collide.
class SipHash {
 public:
  using Key = std::array<uint64_t, 2>;

  /// A key of its own from the kernel.
  SipHash();
  explicit SipHash(const Key& key) : key_(key) {}

  /// Of the four bytes of `prefix`, the lowest first, and `text` behind them.
  [[nodiscard]] uint64_t operator()(uint32_t prefix, std::string_view text) const;

 private:
  Key key_;
};

}  // namespace lambdo::image
