#include "agent/run_request.h"

#include "agent/shell_command.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

namespace lambdo::agent {

static constexpr char kShell[] = "/bin/sh";
static constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static void set_variable(std::vector<std::string>& environment, std::string_view name,
                         std::string_view value) {
  std::string variable(name);
  variable += '=';
  const auto same = std::ranges::find_if(
      environment, [&](const std::string& other) { return other.starts_with(variable); });
  variable += value;
  if (same != environment.end()) {
    *same = std::move(variable);
  } else {
    environment.push_back(std::move(variable));
  }
}

static Result<std::vector<std::string>> make_environment(const grpc_definitions::ExecuteRequest& request,
                                                         char* const* base_environment) {
  std::vector<std::string> environment;
  for (; base_environment != nullptr && *base_environment != nullptr; ++base_environment) {
    environment.emplace_back(*base_environment);
  }
  if (std::ranges::none_of(environment,
                           [](const std::string& variable) { return variable.starts_with("PATH="); })) {
    set_variable(environment, "PATH", kDefaultPath);
  }
  for (const auto& variable : request.environment()) {
    if (variable.name().empty() ||
        variable.name().find_first_of(std::string_view("=\0", 2)) != std::string::npos) {
      return fail(Code::invalid_argument, "environment: a name is empty or holds \"=\" or NUL");
    }
    set_variable(environment, variable.name(), variable.value());
  }
  // As a shell would have it, which not every step has.
  const std::unique_ptr<char, void (*)(void*)> folder(::getcwd(nullptr, 0), ::free);
  if (folder) set_variable(environment, "PWD", folder.get());
  return environment;
}

Result<Run> make_run(const grpc_definitions::ExecuteRequest& request, char* const* base_environment) {
  if (request.steps().empty()) return fail(Code::invalid_argument, "steps: at least one is needed");
  Run run;
  run.output_bytes = request.limits().output_bytes();
  run.job.limits = {.wall_ms = request.limits().wall_ms(),
                    .cpu_ms = request.limits().cpu_ms(),
                    .file_bytes = request.limits().file_bytes(),
                    .processes = request.limits().processes(),
                    .memory_bytes = request.limits().memory_bytes()};
  run.job.environment = TRY(make_environment(request, base_environment));
  for (const auto& step : request.steps()) {
    std::vector<std::string> arguments = {kShell, "-c", shell_command(step.command()), "lambdo"};
    arguments.insert(arguments.end(), step.arguments().begin(), step.arguments().end());
    run.job.steps.push_back(std::move(arguments));
    run.capture_stdout.push_back(step.enable_output());
  }
  return run;
}

grpc_definitions::ExecuteResponse make_response(const grpc_definitions::ExecuteRequest& request,
                                                std::vector<StepReport> reports) {
  grpc_definitions::ExecuteResponse response;
  response.set_id(request.id());
  for (size_t i = 0; i < reports.size(); ++i) {
    StepReport& report = reports[i];
    auto* step = response.add_steps();
    step->set_command(request.steps(static_cast<int>(i)).command());
    step->set_exit_code(report.end.exit_code);
    step->set_signal(report.end.signal);
    step->set_wall_us(report.end.wall_us);
    step->set_cpu_us(report.end.cpu_us);
    step->set_max_rss_kb(report.end.max_rss_kb);
    step->set_timed_out(report.end.timed_out);
    step->set_cpu_exceeded(report.end.cpu_exceeded);
    step->set_oom_killed(report.end.oom_killed);
    step->set_stdout_truncated(report.standard_output.truncated);
    step->set_stderr_truncated(report.standard_error.truncated);
    step->set_stdout(std::move(report.standard_output.bytes));
    step->set_stderr(std::move(report.standard_error.bytes));
    if (report.end.start_errno != 0) {
      step->set_stderr(std::string("lambdo-agent: ") + kShell + ": " + std::strerror(report.end.start_errno) +
                       '\n');
    }
  }
  return response;
}

}  // namespace lambdo::agent
