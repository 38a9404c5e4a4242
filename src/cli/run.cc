#include <simdjson.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/json.h"
#include "base/syscalls.h"
#include "base/text.h"
#include "cli/exit_codes.h"
#include "cli/run.h"
#include "cli/run_program.h"
#include "http/client/client.h"
#include "reactor/interrupt.h"

namespace lambdo::cli {

namespace {

using reactor::Task;

constexpr size_t kMaxAnswerBytes = 64 << 20;

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

Result<std::string> decoded(simdjson::dom::element answer, const char* name) {
  std::string_view text;
  if (answer[name].get(text) == simdjson::SUCCESS) {
    if (auto bytes = base64_decode(text)) return std::move(*bytes);
  }
  return fail(Code::io, std::string("the server's answer has no base64 \"") + name + "\"");
}

Result<RunOutcome> parse_answer(const http::ClientResponse& response, const std::string& server) {
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
  RunOutcome outcome;
  outcome.standard_output = TRY(decoded(answer, "stdout"));
  outcome.standard_error = TRY(decoded(answer, "stderr"));
  if (answer["status"].get(outcome.status) != simdjson::SUCCESS) {
    return fail(Code::io, "the server's answer has no \"status\"");
  }
  return outcome;
}

Task<Result<http::ClientResponse>> post(reactor::Reactor& reactor, http::Client& client, http::Url url,
                                        std::string json, reactor::Interrupt& interrupt) {
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
  reactor::Interrupt interrupt = TRY(reactor::Interrupt::create());
  auto reactor = TRY(reactor::Reactor::create());
  http::ClientSettings settings;
  // The server answers when the program has ended, and bounds that itself.
  settings.timeouts.response_head_ms = 0;
  const auto client = TRY(http::Client::create(*reactor, std::move(settings)));
  auto response =
      reactor->run(post(*reactor, *client, std::move(url), request_json(request, !options.json), interrupt));
  if (!response && interrupt.signal()) return run_interrupted(interrupt, "the server ends the program");
  if (!response) return std::unexpected(without_answer(std::move(response).error(), options.server));
  if (options.json) {
    TRY(sys::write_all(STDOUT_FILENO, response->body + "\n"));
    return response->status == 200 ? kExitOk : kExitFailure;
  }
  return print_outcome(TRY(parse_answer(*response, options.server)));
}

}  // namespace

int run(const RunOptions& options) {
  CHECK(!options.local);
  ::signal(SIGPIPE, SIG_IGN);
  return run_exit_code(run_on_server(options));
}

}  // namespace lambdo::cli
