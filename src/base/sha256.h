#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

namespace lambdo {

/// SHA-256 (FIPS 180-4) of what comes in pieces. libcrypto's, which uses the processor's own instructions.
class Sha256 {
 public:
  using Value = std::array<std::byte, 32>;

  Sha256();
  Sha256(Sha256&&) noexcept = default;
  Sha256& operator=(Sha256&&) noexcept = default;

  void update(std::span<const std::byte> data);
  /// The value of all that came; starts anew.
  Value finish();

  static Value of(std::span<const std::byte> data);

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

}  // namespace lambdo
