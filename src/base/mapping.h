#pragma once

#include <cstddef>
#include <span>

#include "base/error.h"

namespace lambdo {

/// Owns one mmap()ed range and unmaps it.
class [[nodiscard]] Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  /// mmap() of `len_bytes`, with PROT_* `protection` and MAP_* `flags`; `fd` -1 for anonymous memory.
  static Result<Mapping> create(size_t len_bytes, int protection, int flags, int fd = -1, size_t offset = 0);

  [[nodiscard]] std::span<std::byte> bytes() const { return {data_, len_bytes_}; }

 private:
  void reset();

  std::byte* data_ = nullptr;
  size_t len_bytes_ = 0;
};

}  // namespace lambdo
