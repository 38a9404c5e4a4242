#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

/// The messages between the agent's two processes, over their socketpair: RunSupervisor in the server process
/// sends one Job (all steps of the run, with their limits); the executor sends back a StepEnd for each step
/// that ran, up to and including the first that failed. Either process stops when the other closes its end.
/// Both are the same program, so the messages' layout is the machine's own.
namespace lambdo::agent {

constexpr size_t kMaxSteps = 64;
constexpr size_t kMaxJobBytes = 4 << 20;

/// 0 means: no limit of this kind.
struct JobLimits {
  uint64_t wall_ms = 0;     ///< all steps together
  uint64_t cpu_ms = 0;      ///< all processes of all steps together
  uint64_t file_bytes = 0;  ///< RLIMIT_FSIZE
  uint64_t processes =
      0;  ///< RLIMIT_NPROC, the agent's own processes included where they have the steps' user
  uint64_t memory_bytes = 0;  ///< all processes of a step together; needs a StepCgroup
};

/// What to run. The strings must hold no NUL.
struct Job {
  JobLimits limits;
  std::vector<std::string> environment;         ///< NAME=value
  std::vector<std::vector<std::string>> steps;  ///< argv of each, at most kMaxSteps
};

/// Where a step's output goes.
struct StepOutputs {
  Fd standard_output;
  Fd standard_error;
};

/// A job as the executor holds it, ready for execve(): the pointers lead into `text` and end with nullptr.
struct ReceivedJob {
  JobLimits limits;
  std::vector<char> text;
  std::vector<char*> environment;
  std::vector<std::vector<char*>> steps;
  std::vector<StepOutputs> outputs;  ///< one for each step
};

struct StepEnd {
  int32_t exit_code = 0;  ///< 128 + signal for a killed step
  int32_t signal = 0;
  uint64_t wall_us = 0;
  uint64_t cpu_us = 0;
  uint64_t max_rss_kb = 0;
  bool timed_out = false;
  bool cpu_exceeded = false;
  bool oom_killed = false;
  int32_t start_errno = 0;  ///< why /bin/sh could not be started
};

/// Sends the job with its outputs, one for each step. invalid_argument where it has too many steps, is too
/// large or has a NUL.
Result<> send_job(int socket, const Job& job, const std::vector<StepOutputs>& outputs);
/// Waits for a job; closed where the server process went away instead.
Result<ReceivedJob> receive_job(int socket);

Result<> send_step_end(int socket, const StepEnd& end);
/// Waits for one; closed where the executor is gone.
Result<StepEnd> receive_step_end(int socket);

}  // namespace lambdo::agent
