#include <fcntl.h>
#include <simdjson.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "api/run_answer.h"
#include "base/json.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "base/text.h"
#include "cli/command_error.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/interrupt.h"
#include "cli/runtime.h"
#include "http/client.h"

namespace lambdo::cli {

namespace {

using reactor::Task;

constexpr size_t kMaxFileBytes = 64 << 20;
constexpr size_t kMaxAnswerBytes = 64 << 20;

/// `argument` is what named the file.
Result<std::string> read_named(const std::string& path, const char* argument) {
  auto content = sys::read_file(path, kMaxFileBytes);
  if (!content) return std::unexpected(std::move(content).error().with_context(argument));
  return content;
}

Result<std::string> read_input(const RunOptions& options) {
  if (!options.input_path) return std::string();
  return read_named(*options.input_path == "-" ? "/dev/stdin" : *options.input_path, "--input");
}

/// The files by their names below the first one's folder; a file elsewhere goes by its last part.
std::string workspace_name(const std::string& path, const std::string& entrypoint) {
  const size_t slash = entrypoint.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : entrypoint.substr(0, slash + 1);
  if (path.starts_with(folder) && !path.substr(folder.size()).starts_with('/'))
    return path.substr(folder.size());
  return path.substr(path.rfind('/') + 1);
}

Result<engine::RunRequest> read_request(const RunOptions& options) {
  engine::RunRequest request;
  request.language = options.language;
  request.version = options.version;
  request.input = TRY(read_input(options));
  request.args = options.args;
  for (const std::string& path : options.files) {
    request.code.push_back(
        {workspace_name(path, options.files.front()), TRY(sys::read_file(path, kMaxFileBytes))});
  }
  request.limits = {options.wall_ms, options.cpu_ms, options.memory_mb, options.output_bytes,
                    options.processes};
  return request;
}

void write_limit(JsonWriter& json, const char* name, std::optional<uint64_t> limit) {
  if (limit) json.field(name, *limit);
}

/// Output comes back as base64: whatever the program writes is written here byte for byte.
std::string request_json(const engine::RunRequest& request, bool base64_output) {
  JsonWriter json;
  json.begin_object().field("language", request.language).field("version", request.version);
  json.field("input", base64_encode(request.input))
      .field("input_encoding", "base64")
      .key("code")
      .begin_array();
  for (const engine::SourceFile& file : request.code) {
    json.begin_object().field("filename", file.filename).field("content", base64_encode(file.content));
    json.field("encoding", "base64").end_object();
  }
  json.end_array().key("args").begin_array();
  for (const std::string& argument : request.args) json.value(argument);
  json.end_array().key("limits").begin_object();
  write_limit(json, "wall_ms", request.limits.wall_ms);
  write_limit(json, "cpu_ms", request.limits.cpu_ms);
  write_limit(json, "memory_mb", request.limits.memory_mb);
  write_limit(json, "output_bytes", request.limits.output_bytes);
  write_limit(json, "processes", request.limits.processes);
  json.end_object();
  if (base64_output) json.field("output_encoding", "base64");
  json.end_object();
  return json.take();
}

struct Outcome {
  std::string standard_output;
  std::string standard_error;
  int64_t status = 0;
};

Result<std::string> decoded(simdjson::dom::element answer, const char* name) {
  std::string_view text;
  if (answer[name].get(text) == simdjson::SUCCESS) {
    if (auto bytes = base64_decode(text)) return std::move(*bytes);
  }
  return fail(Code::io, std::string("the server's answer has no base64 \"") + name + "\"");
}

Result<Outcome> parse_answer(const http::ClientResponse& response, const std::string& server) {
  simdjson::dom::parser parser;
  simdjson::dom::element answer;
  if (parser.parse(response.body).get(answer) != simdjson::SUCCESS) {
    return fail(Code::io, server + " answered " + std::to_string(response.status) +
                              " without JSON; is it a Lambdo server?");
  }
  if (response.status != 200) {
    std::string_view message = "no message";
    (void)answer["error"]["message"].get(message);
    return fail(Code::io,
                "the server answered " + std::to_string(response.status) + ": " + std::string(message));
  }
  Outcome outcome;
  outcome.standard_output = TRY(decoded(answer, "stdout"));
  outcome.standard_error = TRY(decoded(answer, "stderr"));
  if (answer["status"].get(outcome.status) != simdjson::SUCCESS) {
    return fail(Code::io, "the server's answer has no \"status\"");
  }
  return outcome;
}

Result<int> print_outcome(const Outcome& outcome) {
  constexpr int64_t kTimeoutStatus = 128;
  TRY(sys::write_all(STDOUT_FILENO, outcome.standard_output));
  TRY(sys::write_all(STDERR_FILENO, outcome.standard_error));
  // The word is ours and not the program's: a line of its own.
  if (outcome.status == kTimeoutStatus && outcome.standard_error == engine::kTimeoutMessage) {
    TRY(sys::write_all(STDERR_FILENO, "\n"));
  }
  return static_cast<int>(outcome.status & 0xff);
}

Task<Result<http::ClientResponse>> post(reactor::Reactor& reactor, http::Client& client, http::Url url,
                                        std::string json, Interrupt& interrupt) {
  http::ClientRequest request;
  request.method = http::Method::post;
  request.url = std::move(url);
  request.headers.add("Content-Type", "application/json");
  request.body = std::move(json);
  interrupt.start(reactor);
  auto response = co_await client.fetch(std::move(request), kMaxAnswerBytes, interrupt.token());
  co_await client.close();
  co_await interrupt.stop();
  co_return response;
}

int interrupted(const Interrupt& interrupt, const char* what_happens) {
  print_error("run", std::string("interrupted; ") + what_happens);
  return interrupt.exit_code();
}

/// Whether the server was reached makes the difference between starting one and looking for what ended it.
Error without_answer(Error error, const std::string& server) {
  if (error.code == Code::closed) {
    return std::move(error).with_context(
        server +
        " closed the connection before it answered, so the server ended or was told to give its runs up; "
        "look at its log, and run the program again once it serves");
  }
  if (error.code == Code::payload_too_large || error.code == Code::headers_too_large) {
    return std::move(error).with_context("the answer of " + server);
  }
  if (error.code == Code::io && error.os_errno == 0) {
    return std::move(error).with_context(server + " does not answer as a Lambdo server does (see --server)");
  }
  return std::move(error).with_context("cannot reach " + server +
                                       " (start one with \"lambdo serve\", or use --local)");
}

Result<int> run_on_server(const RunOptions& options) {
  const auto request = TRY(read_request(options));
  std::string address = options.server;
  while (address.ends_with('/')) address.pop_back();
  auto url = TRY(http::Url::parse(address + "/run"));
  Interrupt interrupt = TRY(Interrupt::create());
  auto reactor = TRY(reactor::Reactor::create());
  http::ClientSettings settings;
  // The server answers when the program has ended, and bounds that itself.
  settings.timeouts.response_head_ms = 0;
  const auto client = TRY(http::Client::create(*reactor, std::move(settings)));
  auto response =
      reactor->run(post(*reactor, *client, std::move(url), request_json(request, !options.json), interrupt));
  if (!response && interrupt.signal()) return interrupted(interrupt, "the server ends the program");
  if (!response) return std::unexpected(without_answer(std::move(response).error(), options.server));
  if (options.json) {
    TRY(sys::write_all(STDOUT_FILENO, response->body + "\n"));
    return response->status == 200 ? kExitOk : kExitFailure;
  }
  return print_outcome(TRY(parse_answer(*response, options.server)));
}

class TemporaryFolder {
 public:
  static Result<TemporaryFolder> create() {
    std::string path = std::filesystem::temp_directory_path() / "lambdo-run-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return fail_errno("mkdtemp " + path);
    return TemporaryFolder(std::move(path));
  }
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Task<Result<engine::RunReport>> run_once(reactor::Reactor& reactor, Runtime& runtime,
                                         engine::RunRequest request, Interrupt& interrupt) {
  interrupt.start(reactor);
  Result<> started = co_await runtime.start();
  if (started) started = co_await runtime.language_ready(0, interrupt.token());
  Result<engine::RunReport> report = fail(Code::internal, "not started");
  if (started) {
    report = co_await runtime.runner().run(std::move(request), interrupt.token());
  } else {
    report = std::unexpected(std::move(started).error());
  }
  co_await runtime.stop();
  co_await interrupt.stop();
  co_return report;
}

Result<int> run_locally(const RunOptions& options) {
  Config config = TRY(load_config(options.config_path));
  log::configure(log::Level::error, config.log.format);
  auto request = TRY(read_request(options));
  const size_t wanted = TRY(engine::find_language(config.languages, request));
  // One guest for one run, of the one language, beside a server that may use the configured state directory.
  config.languages = {config.languages[wanted]};
  config.languages.front().warm = 0;
  config.images.store = config.store_folder();
  std::optional<TemporaryFolder> state = TRY(TemporaryFolder::create());
  config.state_dir = state->path();
  Interrupt interrupt = TRY(Interrupt::create());
  auto laid = lay_foundation(config, interrupt.fd());
  if (!laid && laid.error().code == Code::cancelled) return kExitInterrupted;
  Foundation foundation = TRY(std::move(laid));
  state.reset();  // its lock is held by a descriptor; whatever ends us now leaves no folder
  auto reactor = TRY(reactor::Reactor::create());
  Runtime runtime(*reactor, config, std::move(foundation));
  auto reported = reactor->run(run_once(*reactor, runtime, std::move(request), interrupt));
  if (!reported && interrupt.signal()) return interrupted(interrupt, "the program was ended");
  engine::RunReport report = TRY(std::move(reported));
  if (options.json) {
    api::RunAnswer answer(std::move(report), api::OutputEncoding::utf8);
    TRY(sys::write_all(STDOUT_FILENO, answer.text() + "\n"));
    return kExitOk;
  }
  Outcome outcome{.status = report.status};
  for (const engine::StepReport& step : report.steps) {
    outcome.standard_output += step.standard_output;
    outcome.standard_error += step.standard_error;
  }
  if (report.timed_out) outcome.standard_error = engine::kTimeoutMessage;
  return print_outcome(outcome);
}

}  // namespace

int run(const RunOptions& options) {
  ::signal(SIGPIPE, SIG_IGN);
  const auto exit_code = options.local ? run_locally(options) : run_on_server(options);
  if (exit_code) return *exit_code;
  print_error("run", exit_code.error().message);
  return kExitFailure;
}

}  // namespace lambdo::cli
