#pragma once

#include <string>

#include "base/error.h"

namespace lambdo::cli {

/// The folder that this process's program lies in: proc(5), /proc/PID/exe.
Result<std::string> program_folder();

/// The guest agent's program: `configured` where that is not empty, else the one that belongs to this
/// program. Code::unavailable says where it was looked for and what to do.
Result<std::string> find_agent(const std::string& configured);

}  // namespace lambdo::cli
