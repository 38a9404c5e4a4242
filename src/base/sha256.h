#pragma once

#include <nettle/sha2.h>

#include <array>
#include <cstddef>
#include <span>

namespace lambdo {

/// SHA-256 (FIPS 180-4) of what comes in pieces. Nettle's, which uses the processor's own instructions.
class Sha256 {
 public:
  using Value = std::array<std::byte, 32>;

  Sha256();

  void update(std::span<const std::byte> data);
  /// The value of all that came; starts anew.
  Value finish();

  static Value of(std::span<const std::byte> data);

 private:
  sha256_ctx context_;
};

}  // namespace lambdo
