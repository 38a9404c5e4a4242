#pragma once

#include <linux/capability.h>

#include <cstdint>

#include "base/error.h"

namespace lambdo::sys {

constexpr uint64_t capability_bit(unsigned capability) {
  return uint64_t{1} << capability;
}

/// Gives up for good all capabilities but those in `kept` (capability_bit() of each), and getting new ones by
/// executing a program. For the calling thread and all started after. Does nothing where there are none.
Result<> keep_capabilities(uint64_t kept);

}  // namespace lambdo::sys
