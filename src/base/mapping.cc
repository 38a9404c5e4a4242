#include "base/mapping.h"

#include <sys/mman.h>

#include <utility>

namespace lambdo {

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), len_bytes_(std::exchange(other.len_bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = std::exchange(other.data_, nullptr);
    len_bytes_ = std::exchange(other.len_bytes_, 0);
  }
  return *this;
}

Mapping::~Mapping() {
  reset();
}

Result<Mapping> Mapping::create(size_t len_bytes, int protection, int flags, int fd, size_t offset) {
  void* address = ::mmap(nullptr, len_bytes, protection, flags, fd, static_cast<off_t>(offset));
  if (address == MAP_FAILED) return fail_errno("mmap");
  Mapping mapping;
  mapping.data_ = static_cast<std::byte*>(address);
  mapping.len_bytes_ = len_bytes;
  return mapping;
}

void Mapping::reset() {
  if (data_ != nullptr) ::munmap(data_, len_bytes_);
  data_ = nullptr;
}

}  // namespace lambdo
