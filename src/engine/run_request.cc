#include "engine/run_request.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "base/text.h"
#include "lambdo.pb.h"

namespace lambdo::engine {

static constexpr size_t kMaxFilenameBytes = 512;
// Below the kernel's limit for one string of argv and envp (MAX_ARG_STRLEN, 128 KiB).
static constexpr size_t kMaxStringBytes = 64 * 1024;
static constexpr size_t kMaxStringsBytes = 512 * 1024;
static constexpr const char* kInputFile = "input.input";

// ---- languages

static std::string known_languages(const std::vector<Language>& languages) {
  std::string names;
  for (const Language& language : languages) {
    if (!names.empty()) names += ", ";
    names += language.name;
    if (!language.version.empty()) names += " " + language.version;
  }
  return names;
}

Result<size_t> find_language(const std::vector<Language>& languages, const RunRequest& request) {
  bool name_known = false;
  for (size_t i = 0; i < languages.size(); ++i) {
    if (!equals_ignoring_case(languages[i].name, request.language)) continue;
    name_known = true;
    if (request.version.empty() || request.version == languages[i].version) return i;
  }
  std::string message =
      name_known ? "language: no version \"" + request.version + "\" of \"" + request.language + "\""
                 : "language: no language \"" + request.language + "\"";
  return fail(Code::not_found, message + "; there are: " + known_languages(languages));
}

// ---- limits

static Result<> apply(uint64_t& limit, std::optional<uint64_t> wanted, uint64_t max, std::string_view field) {
  if (!wanted) return {};
  const std::string name = "limits." + std::string(field);
  if (*wanted == 0) return fail(Code::invalid_argument, name + ": must be at least 1");
  if (*wanted > max) {
    return fail(Code::invalid_argument, name + ": " + std::to_string(*wanted) +
                                            " is over this server's maximum of " + std::to_string(max));
  }
  limit = *wanted;
  return {};
}

Result<Limits> effective_limits(const Language& language, const LimitOverrides& overrides,
                                const Limits& max) {
  Limits limits = language.limits;
  TRY(apply(limits.wall_ms, overrides.wall_ms, max.wall_ms, "wall_ms"));
  TRY(apply(limits.cpu_ms, overrides.cpu_ms, max.cpu_ms, "cpu_ms"));
  TRY(apply(limits.memory_mb, overrides.memory_mb, max.memory_mb, "memory_mb"));
  if (overrides.memory_mb && limits.memory_mb < kMinMemoryMb) {
    return fail(Code::invalid_argument, "limits.memory_mb: must be at least " + std::to_string(kMinMemoryMb));
  }
  TRY(apply(limits.output_bytes, overrides.output_bytes, max.output_bytes, "output_bytes"));
  TRY(apply(limits.processes, overrides.processes, max.processes, "processes"));
  return limits;
}

// ---- validation

static bool has_nul(std::string_view text) {
  return text.find('\0') != std::string_view::npos;
}

/// Why `name` is no file below the workspace; empty where it is one.
static std::string filename_problem(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.size() > kMaxFilenameBytes)
    return "is longer than " + std::to_string(kMaxFilenameBytes) + " bytes";
  if (has_nul(name)) return "has a NUL byte";
  if (name.front() == '/') return "is absolute; file names are relative to the workspace";
  if (name.back() == '/') return "names a folder";
  for (size_t start = 0; start <= name.size();) {
    const size_t end = std::min(name.find('/', start), name.size());
    const std::string_view part = name.substr(start, end - start);
    if (part == "..") return "has a \"..\" part; files must stay in the workspace";
    if (part.empty() || part == ".") return "has an empty or \".\" part";
    if (part.size() > 255) return "has a part longer than 255 bytes";
    start = end + 1;
  }
  return "";
}

static Result<> validate_files(const RunRequest& request) {
  if (request.code.empty()) return fail(Code::invalid_argument, "code: at least one file is needed");
  if (request.code.size() > kMaxFiles) {
    return fail(Code::invalid_argument, "code: more than " + std::to_string(kMaxFiles) + " files");
  }
  std::unordered_set<std::string_view> names;
  for (size_t i = 0; i < request.code.size(); ++i) {
    const std::string& name = request.code[i].filename;
    const std::string field = "code[" + std::to_string(i) + "].filename";
    if (const std::string problem = filename_problem(name); !problem.empty()) {
      return fail(Code::invalid_argument, field + ": " + problem);
    }
    if (!names.insert(name).second)
      return fail(Code::invalid_argument, field + ": \"" + name + "\" comes twice");
  }
  if (!request.entrypoint.empty() && !names.contains(request.entrypoint)) {
    return fail(Code::invalid_argument,
                "entrypoint: \"" + request.entrypoint + "\" is not among the files of code");
  }
  return {};
}

static Result<> validate_arguments(const RunRequest& request) {
  if (request.args.size() > kMaxArguments) {
    return fail(Code::invalid_argument, "args: more than " + std::to_string(kMaxArguments));
  }
  size_t total = 0;
  for (size_t i = 0; i < request.args.size(); ++i) {
    const std::string field = "args[" + std::to_string(i) + "]";
    if (has_nul(request.args[i])) return fail(Code::invalid_argument, field + ": has a NUL byte");
    if (request.args[i].size() > kMaxStringBytes)
      return fail(Code::invalid_argument, field + ": longer than 64 KiB");
    total += request.args[i].size();
  }
  if (total > kMaxStringsBytes) return fail(Code::invalid_argument, "args: longer than 512 KiB together");
  return {};
}

static bool is_variable_name(std::string_view name) {
  const auto is_start = [](char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (name.empty() || !is_start(name[0])) return false;
  return std::ranges::all_of(name, [&](char c) { return is_start(c) || (c >= '0' && c <= '9'); });
}

static Result<> validate_environment(const RunRequest& request) {
  if (request.environment.size() > kMaxVariables) {
    return fail(Code::invalid_argument, "env: more than " + std::to_string(kMaxVariables) + " variables");
  }
  size_t total = 0;
  for (const auto& [name, value] : request.environment) {
    if (name.size() > 255 || !is_variable_name(name)) {
      return fail(Code::invalid_argument, "env: \"" + name.substr(0, 64) + "\" is not a variable's name");
    }
    if (has_nul(value)) return fail(Code::invalid_argument, "env." + name + ": has a NUL byte");
    if (value.size() > kMaxStringBytes)
      return fail(Code::invalid_argument, "env." + name + ": longer than 64 KiB");
    total += value.size();
  }
  if (total > kMaxStringsBytes) return fail(Code::invalid_argument, "env: longer than 512 KiB together");
  return {};
}

Result<> validate(const RunRequest& request) {
  if (request.language.empty()) return fail(Code::invalid_argument, "language: is empty");
  TRY(validate_files(request));
  TRY(validate_arguments(request));
  return validate_environment(request);
}

// ---- to the agent

/// POSIX shell, 2.2.2: nothing is special between single quotes but the quote itself.
static std::string shell_quote(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

static void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

/// The step's command for /bin/sh. A name that begins with "-" must not be read as an option.
static std::string expand(std::string command, const std::string& entrypoint) {
  replace_all(command, "{{args}}", "\"$@\"");
  replace_all(command, "{{filename}}",
              shell_quote(entrypoint.starts_with('-') ? "./" + entrypoint : entrypoint));
  return command;
}

static bool has_args_placeholder(const Language& language) {
  return std::ranges::any_of(language.steps,
                             [](const Step& step) { return step.command.contains("{{args}}"); });
}

/// Agents of the original protocol know neither arguments nor environment nor input of a step: its shell is
/// told instead.
static void tell_by_command(grpc_definitions::ExecuteRequest& message, const RunRequest& request,
                            const Language& language, bool use_input_file) {
  std::string arguments;
  for (const std::string& argument : request.args) {
    arguments += (arguments.empty() ? "" : " ") + shell_quote(argument);
  }
  std::string before;
  const auto add_variable = [&](const std::string& name, const std::string& value) {
    if (is_variable_name(name)) before += "export " + name + "=" + shell_quote(value) + "; ";
  };
  for (const auto& [name, value] : language.environment) add_variable(name, value);
  for (const auto& [name, value] : request.environment) add_variable(name, value);
  // Only such agents as run their steps where the files are can have it.
  if (use_input_file) {
    before += std::string("[ ! -r ") + kInputFile + " ] || exec <" + kInputFile + "; ";
  }
  for (auto& step : *message.mutable_steps()) {
    if (!arguments.empty()) step.set_command("set -- " + arguments + "; " + step.command());
    step.set_command(before + step.command());
  }
}

grpc_definitions::ExecuteRequest build_execute_request(const RunRequest& request, const Language& language,
                                                       const Limits& limits, const std::string& id) {
  grpc_definitions::ExecuteRequest message;
  message.set_id(id);
  bool has_input_file = false;
  for (const SourceFile& file : request.code) {
    auto* model = message.add_files();
    model->set_filename(file.filename);
    model->set_content(file.content);
    has_input_file = has_input_file || file.filename == kInputFile;
  }
  if (!has_input_file) {
    auto* model = message.add_files();
    model->set_filename(kInputFile);
    model->set_content(request.input);
  }
  message.set_input(request.input);
  const std::string& entrypoint =
      request.entrypoint.empty() ? request.code.front().filename : request.entrypoint;
  // Commands written without {{args}}, as the original's are, still get them: behind the last step's command.
  const bool append_args = !request.args.empty() && !has_args_placeholder(language);
  for (const Step& step : language.steps) {
    auto* model = message.add_steps();
    model->set_command(expand(step.command, entrypoint));
    model->set_enable_output(step.output_enabled);
    for (const std::string& argument : request.args) model->add_arguments(argument);
  }
  if (append_args) message.mutable_steps()->rbegin()->mutable_command()->append(" \"$@\"");
  for (const auto& [name, value] : request.environment) {
    auto* variable = message.add_environment();
    variable->set_name(name);
    variable->set_value(value);
  }
  if (language.has_own_init) {
    tell_by_command(message, request, language, !has_input_file && !request.input.empty());
  }
  auto* wanted = message.mutable_limits();
  wanted->set_wall_ms(limits.wall_ms);
  wanted->set_cpu_ms(limits.cpu_ms);
  wanted->set_output_bytes(limits.output_bytes);
  wanted->set_file_bytes(limits.disk_mb << 20);
  wanted->set_processes(limits.processes);
  wanted->set_memory_bytes(limits.memory_mb << 20);
  return message;
}

bool may_fill_disk(const grpc_definitions::ExecuteRequest& request, const Limits& limits) {
  uint64_t content_bytes = 0;
  for (const auto& file : request.files()) content_bytes += file.content().size();
  // Blocks, folders and what the image brings take room too.
  return content_bytes > (limits.disk_mb << 20) / 2;
}

// ---- from the agent

static Result<> check_step(const grpc_definitions::ExecuteResponseStep& step, const Limits& limits) {
  if (step.stdout().size() > limits.output_bytes || step.stderr().size() > limits.output_bytes) {
    return fail(Code::agent_protocol, "agent: a step's output is larger than its limit");
  }
  if (step.signal() < 0 || step.signal() > 64) return fail(Code::agent_protocol, "agent: no such signal");
  if (step.signal() != 0 && step.exit_code() != 128 + step.signal()) {
    return fail(Code::agent_protocol, "agent: a step's exit code and signal do not fit");
  }
  return {};
}

static StepReport take_step(grpc_definitions::ExecuteResponseStep& step) {
  StepReport report;
  report.exit_code = step.exit_code();
  report.signal = step.signal();
  report.standard_output = std::move(*step.mutable_stdout());
  report.standard_error = std::move(*step.mutable_stderr());
  report.wall_us = step.wall_us();
  report.cpu_us = step.cpu_us();
  report.max_rss_kb = step.max_rss_kb();
  report.timed_out = step.timed_out() || step.cpu_exceeded();
  report.truncated = step.stdout_truncated() || step.stderr_truncated();
  report.oom_killed = step.oom_killed();
  return report;
}

Result<RunReport> read_execute_response(grpc_definitions::ExecuteResponse response,
                                        const grpc_definitions::ExecuteRequest& request,
                                        const Limits& limits) {
  if (response.steps_size() == 0 || response.steps_size() > request.steps_size()) {
    return fail(Code::agent_protocol, "agent: answered " + std::to_string(response.steps_size()) +
                                          " steps for " + std::to_string(request.steps_size()));
  }
  RunReport report;
  for (int i = 0; i < response.steps_size(); ++i) {
    auto& step = *response.mutable_steps(i);
    TRY(check_step(step, limits));
    report.steps.push_back(take_step(step));
    StepReport& last = report.steps.back();
    last.command = request.steps(i).command();
    if (!request.steps(i).enable_output()) last.standard_output.clear();
  }
  report.status = report.steps.back().exit_code;
  if (report.steps.back().timed_out) {
    report.status = kTimeoutStatus;
    report.timed_out = true;
  }
  return report;
}

RunReport killed_report(const grpc_definitions::ExecuteRequest& request) {
  StepReport step;
  if (request.steps_size() == 1) step.command = request.steps(0).command();
  step.signal = 9;
  step.exit_code = 128 + step.signal;
  RunReport report;
  report.status = step.exit_code;
  report.steps.push_back(std::move(step));
  return report;
}

RunReport timeout_report(const grpc_definitions::ExecuteRequest& request, const Limits& limits) {
  RunReport report = killed_report(request);
  report.status = kTimeoutStatus;
  report.timed_out = true;
  report.steps.back().wall_us = limits.wall_ms * 1000;
  report.steps.back().timed_out = true;
  return report;
}

}  // namespace lambdo::engine
