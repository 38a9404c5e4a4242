#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "cli/run.h"
#include "engine/run_request.h"
#include "reactor/interrupt.h"

/// What `lambdo run` does wherever the program runs, on a server or here.
namespace lambdo::cli {

/// Reads the program's files and its input.
Result<engine::RunRequest> read_request(const RunOptions& options);

struct RunOutcome {
  std::string standard_output;
  std::string standard_error;
  int64_t status = 0;
};

/// Writes what the program wrote; gives the exit code, which is the program's.
Result<int> print_outcome(const RunOutcome& outcome);

/// Says that a signal came and what becomes of the program; gives the exit code.
int run_interrupted(const reactor::Interrupt& interrupt, const char* what_happens);

/// Prints the error, if there is one.
int run_exit_code(const Result<int>& exit_code);

}  // namespace lambdo::cli
