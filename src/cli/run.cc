#include <fcntl.h>
#include <simdjson.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "api/run_answer.h"
#include "base/json.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/runtime.h"
#include "http/client.h"

namespace lambdo::cli {

namespace {

using reactor::Task;

constexpr size_t kMaxFileBytes = 64 << 20;
constexpr size_t kMaxAnswerBytes = 64 << 20;

Result<std::string> read_input(const RunOptions& options) {
  if (!options.input_path) return std::string();
  return sys::read_file(*options.input_path == "-" ? "/dev/stdin" : *options.input_path, kMaxFileBytes);
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
  TRY(sys::write_all(STDOUT_FILENO, outcome.standard_output));
  TRY(sys::write_all(STDERR_FILENO, outcome.standard_error));
  return static_cast<int>(outcome.status & 0xff);
}

Task<Result<http::ClientResponse>> post(http::Client& client, http::Url url, std::string json) {
  http::ClientRequest request;
  request.method = http::Method::post;
  request.url = std::move(url);
  request.headers.add("Content-Type", "application/json");
  request.body = std::move(json);
  auto response = co_await client.fetch(std::move(request), kMaxAnswerBytes);
  co_await client.close();
  co_return response;
}

Result<int> run_on_server(const RunOptions& options) {
  const auto request = TRY(read_request(options));
  std::string address = options.server;
  while (address.ends_with('/')) address.pop_back();
  auto url = TRY(http::Url::parse(address + "/run"));
  auto reactor = TRY(reactor::Reactor::create());
  http::ClientSettings settings;
  // The server answers when the program has ended, and bounds that itself.
  settings.timeouts.response_head_ms = 0;
  const auto client = TRY(http::Client::create(*reactor, std::move(settings)));
  const auto response = reactor->run(post(*client, std::move(url), request_json(request, !options.json)));
  if (!response) {
    return std::unexpected(Error(response.error())
                               .with_context("cannot reach " + options.server +
                                             " (start one with \"lambdo serve\", or use "
                                             "--local)"));
  }
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

Task<Result<engine::RunReport>> run_once(Runtime& runtime, engine::RunRequest request) {
  Result<> started = co_await runtime.start();
  if (started) started = co_await runtime.language_ready(0);
  Result<engine::RunReport> report = fail(Code::internal, "not started");
  if (started) {
    report = co_await runtime.runner().run(std::move(request), {});
  } else {
    report = std::unexpected(std::move(started).error());
  }
  co_await runtime.stop();
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
  Foundation foundation = TRY(lay_foundation(config));
  state.reset();  // its lock is held by a descriptor; whatever ends us now leaves no folder
  auto reactor = TRY(reactor::Reactor::create());
  Runtime runtime(*reactor, config, std::move(foundation));
  auto report = TRY(reactor->run(run_once(runtime, std::move(request))));
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
  std::fprintf(stderr, "lambdo run: %s\n", exit_code.error().message.c_str());
  return kExitFailure;
}

}  // namespace lambdo::cli
