#pragma once

#include <string>

#include "base/error.h"

namespace lambdo::config {

/// The guest agent's program: `configured` (agent.path) where that is not empty, else the one that belongs to
/// this program. Code::unavailable says where it was looked for and what to do.
Result<std::string> find_agent(const std::string& configured);

}  // namespace lambdo::config
