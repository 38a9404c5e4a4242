#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/language.h"
#include "net/policy_text.h"

namespace grpc_definitions {
class ExecuteRequest;
class ExecuteResponse;
}  // namespace grpc_definitions

namespace lambdo::engine {

/// Most entries that a request's lists may have.
inline constexpr size_t kMaxFiles = 256;
inline constexpr size_t kMaxArguments = 256;
inline constexpr size_t kMaxVariables = 128;
/// MiB below which the agent itself could not live.
inline constexpr uint64_t kMinMemoryMb = 16;

struct SourceFile {
  std::string filename;  ///< relative to the workspace, subfolders allowed
  std::string content;
};

/// The limits that a request names; the language's hold for the others.
struct LimitOverrides {
  std::optional<uint64_t> wall_ms;
  std::optional<uint64_t> cpu_ms;
  std::optional<uint64_t> memory_mb;
  std::optional<uint64_t> output_bytes;
  std::optional<uint64_t> processes;
};

/// What somebody wants to be run.
struct RunRequest {
  std::string language;
  std::string version;  ///< empty: the first configured one
  std::string input;
  std::vector<SourceFile> code;
  std::string entrypoint;  ///< empty: the first file
  std::vector<std::string> args;
  std::vector<std::pair<std::string, std::string>> environment;
  LimitOverrides limits;
  std::optional<net::PolicyChoice> network;  ///< none: what the language has
};

struct StepReport {
  std::string command;
  int32_t exit_code = 0;
  int32_t signal = 0;  ///< 0: ended by itself
  std::string standard_output;
  std::string standard_error;
  uint64_t wall_us = 0;
  uint64_t cpu_us = 0;
  uint64_t max_rss_kb = 0;
  bool timed_out = false;
  bool oom_killed = false;
  bool truncated = false;
};

struct RunTimings {
  int64_t queue_us = 0;
  int64_t acquire_us = 0;
  int64_t execute_us = 0;
  int64_t total_us = 0;
};

/// What came of it.
struct RunReport {
  std::string id;
  std::string engine;
  std::string language;
  std::string version;
  int32_t status = 0;      ///< the last step's exit code; 128 for a timeout
  bool timed_out = false;  ///< the whole run's standard error is kTimeoutMessage then, not the steps'
  std::vector<StepReport> steps;
  RunTimings timings;
};

inline constexpr int32_t kTimeoutStatus = 128;
inline constexpr const char* kTimeoutMessage = "Timeout";

/// Finds the language by name (without regard to case) and version (exactly; empty: the first).
/// Code::not_found names what there is.
Result<size_t> find_language(const std::vector<Language>& languages, const RunRequest& request);

/// The language's limits with the request's in their place. Code::invalid_argument names a field that is 0 or
/// over `max`.
Result<Limits> effective_limits(const Language& language, const LimitOverrides& overrides, const Limits& max);

/// Checks what does not depend on the language: files, entrypoint, arguments, environment. Errors name the
/// field as the HTTP API spells it.
Result<> validate(const RunRequest& request);

/// The agent's request for a validated run: placeholders replaced, `input.input` added for agents of the
/// original.
grpc_definitions::ExecuteRequest build_execute_request(const RunRequest& request, const Language& language,
                                                       const Limits& limits, const std::string& id);

/// Whether the request's files are so large that a guest may truly have no room for them. gRPC gives an
/// answer over our cap the agent's code for a full disk; of smaller files it can only be that, or a lie.
bool may_fill_disk(const grpc_definitions::ExecuteRequest& request, const Limits& limits);

/// The agent's answer as a report, without id and timings. The answer is the guest's word: step counts and
/// sizes beyond what was asked for give Code::agent_protocol.
Result<RunReport> read_execute_response(grpc_definitions::ExecuteResponse response,
                                        const grpc_definitions::ExecuteRequest& request,
                                        const Limits& limits);

/// The report of a run that was cut off from outside at its deadline, when the agent itself did not answer.
RunReport timeout_report(const grpc_definitions::ExecuteRequest& request, const Limits& limits);

/// The report of a run whose guest was killed as a whole. Its one step has no command where the request had
/// several: which of them ran is not known then.
RunReport killed_report(const grpc_definitions::ExecuteRequest& request);

}  // namespace lambdo::engine
