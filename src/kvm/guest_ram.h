#pragma once

#include <cstdint>

#include "base/error.h"
#include "base/mapping.h"
#include "kvm/memory_layout.h"
#include "virtio/memory.h"

namespace lambdo::kvm {

/// A guest's RAM, zeroed: one private mapping with the ranges of its layout one after another. Pages come as
/// they are touched, huge ones where the system has them. Making and unmapping it may block.
class GuestRam {
 public:
  /// resource_exhausted where address space lacks.
  static Result<GuestRam> create(const RamLayout& layout);

  /// Valid until this dies, also where it is moved.
  [[nodiscard]] const virtio::GuestMemory& memory() const { return memory_; }

 private:
  GuestRam() = default;

  Mapping mapping_;
  virtio::GuestMemory memory_;
};

}  // namespace lambdo::kvm
