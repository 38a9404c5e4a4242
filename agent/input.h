#pragma once

#include <string_view>

#include "base/error.h"
#include "base/fd.h"

/// The file that is the steps' standard input: made before the agent splits into two processes, which share
/// it.
namespace lambdo::agent {

/// An empty file without a name: in memory, or in the current directory where memfd_create() is refused.
Result<Fd> create_input();

/// Gives the file its content, once. In memory nobody can change it afterwards. resource_exhausted: no space.
Result<> fill_input(int fd, std::string_view content);

}  // namespace lambdo::agent
