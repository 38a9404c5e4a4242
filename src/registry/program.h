#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace lambdo::registry {

struct ProgramLimits {
  int64_t timeout_ms = 20'000;
  size_t max_output_bytes = 64 << 10;
  int interrupt_fd = -1;  ///< ends the program once it can be read, and is not read: cancelled; -1: none
};

struct ProgramResult {
  int exit_code = 0;  ///< 128 + the signal where one ended it
  std::string output;
};

/// Runs a program from PATH with `input` as its standard input, and gives what it wrote to its standard
/// output; its standard error goes nowhere. It lives in a process group of its own, all of which is killed
/// when the time is over (timeout), the output too long (payload_too_large), or it is interrupted
/// (cancelled). unavailable where it cannot be started.
///
/// Blocks. Starts it by posix_spawn(3): no fork handlers run, and no thread is copied.
Result<ProgramResult> run_program(const std::vector<std::string>& arguments, std::string_view input,
                                  ProgramLimits limits);

}  // namespace lambdo::registry
