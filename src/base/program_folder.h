#pragma once

#include <string>

#include "base/error.h"

namespace lambdo::sys {

/// The folder that this process's program lies in: proc(5), /proc/PID/exe.
Result<std::string> program_folder();

}  // namespace lambdo::sys
