#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/event_loop.h"
#include "agent/executor_protocol.h"
#include "agent/processes.h"
#include "base/error.h"
#include "base/fd.h"

namespace lambdo::agent {

/// Kept of one stream at most, whatever the request says, and of all streams of a run together: the answer
/// must fit into a gRPC message of 64 MiB.
constexpr size_t kMaxStreamBytes = 16 << 20;
constexpr size_t kMaxKeptBytes = 48 << 20;

/// What a step wrote to one of its streams, up to the limit.
struct Captured {
  std::string bytes;
  bool truncated = false;
};

struct StepReport {
  StepEnd end;
  Captured standard_output;
  Captured standard_error;
};

struct Run {
  Job job;
  std::vector<bool> capture_stdout;  ///< one for each step
  uint64_t output_bytes = 0;         ///< kept of each stream; 0: kMaxStreamBytes
};

/// Carries out the one run, in the agent's server process: sends the job to the executor process
/// (executor.h), which starts the steps; reads the steps' output from their pipes; receives how each step
/// ended. When guest code has killed or stopped the executor, the supervisor kills the run's processes itself
/// and reports the step that was interrupted.
class RunSupervisor {
 public:
  /// Reports of the steps that ran. Called once, from the loop. unavailable: the executor failed; cancelled:
  /// cancel() was called.
  using Done = std::function<void(Result<std::vector<StepReport>>)>;

  /// `control` leads to `executor`. `loop` outlives the supervisor.
  static Result<std::unique_ptr<RunSupervisor>> create(EventLoop& loop, Fd control, pid_t executor,
                                                       Scope scope);
  RunSupervisor(const RunSupervisor&) = delete;
  RunSupervisor& operator=(const RunSupervisor&) = delete;
  ~RunSupervisor();

  /// Starts the one run. An error means that `done` will not be called.
  Result<> start(Run run, Done done);
  /// Kills what runs.
  void cancel();

  /// Ends what runs and the executor, and waits for that; in a PID namespace of our own PID 1's end does it
  /// all.
  void shut_down();

 private:
  struct Stream {
    Fd pipe;
    size_t max_bytes = 0;
    Captured captured;
  };
  struct Step {
    Stream standard_output;
    Stream standard_error;
    StepEnd end;
  };

  RunSupervisor(EventLoop& loop, Fd control, Fd watchdog, pid_t executor, Scope scope);
  Result<StepOutputs> open_step(size_t index, bool capture_stdout, size_t max_bytes);
  Result<Fd> open_stream(Stream& stream, size_t max_bytes);
  Result<> arm_watchdog(uint64_t wall_ms);

  /// Reads one buffer; false where there is nothing more to read now.
  bool read_some(Stream& stream);
  void drain(Step& step);
  void close(Stream& stream);
  void on_watchdog();
  void on_executor_event();
  void on_executor_gone();
  /// The step that was running when the executor died, as far as it can be known.
  StepEnd interrupted_step(int status);
  void finish(Result<> outcome);

  EventLoop& loop_;
  Fd control_;
  Fd watchdog_;
  Processes processes_;
  Scope scope_;
  std::unique_ptr<char[]> buffer_;  ///< kBufferBytes, touched as far as they are used
  pid_t executor_;                  ///< -1 once reaped
  std::vector<Step> steps_;
  size_t finished_ = 0;  ///< steps that have ended
  size_t kept_bytes_ = 0;
  long long step_start_ns_ = 0;
  bool watchdog_fired_ = false;
  bool cancelled_ = false;
  Done done_;
};

}  // namespace lambdo::agent
