#pragma once

#include <string>

#include "agent/options.h"
#include "base/error.h"

namespace lambdo::agent {

/// For images that bring an init and an agent of their own, as the original Lambdo's: does what such an init
/// cannot, then becomes it. Loads the modules of `folder`, sets up the interface that `ip=` of the options or
/// else of the kernel's command line names, which a kernel with modular drivers has not done, and removes
/// `folder`. Mounts nothing that stays: the image's init finds the machine as the kernel leaves it. Returns
/// with an error only, which names its object.
Result<> hand_over(const std::string& folder, const Options& options);

}  // namespace lambdo::agent
