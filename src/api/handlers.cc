#include "api/handlers.h"

#include <memory>
#include <utility>

#include "api/run_answer.h"
#include "api/run_model.h"
#include "base/json.h"
#include "http/errors.h"

namespace lambdo::api {

using http::Method;
using http::Request;
using http::Response;
using reactor::CancelToken;
using reactor::Task;

/// Output up to this much is answered in one piece.
static constexpr size_t kMaxWholeOutputBytes = 64 << 10;

static Task<Result<>> send_in_pieces(std::shared_ptr<RunAnswer> answer, http::BodyWriter& writer) {
  std::string piece;
  bool more = true;
  while (more) {
    piece.clear();
    more = answer->append_piece(piece);
    // Every write is a turn of the event loop, so that others get theirs in between.
    CO_TRY(co_await writer.write(piece));
  }
  co_return Result<>{};
}

static Response answer_response(std::shared_ptr<RunAnswer> answer) {
  if (answer->output_bytes() <= kMaxWholeOutputBytes) return Response{.body = answer->text()};
  Response response;
  response.stream_held_bytes = answer->held_bytes();
  response.stream = [answer = std::move(answer)](http::BodyWriter& writer, CancelToken) {
    return send_in_pieces(answer, writer);
  };
  return response;
}

Api::Api(reactor::Reactor& reactor, engine::Runner& runner, std::vector<std::string> warnings)
    : reactor_(reactor), runner_(runner), warnings_(std::move(warnings)) {
  router_.add(Method::post, "/run",
              [this](Request& request, CancelToken gone) { return run(request, gone); });
  router_.add(Method::get, "/languages", [this](Request&, CancelToken) { return languages(); });
  router_.add(Method::get, "/health", [this](Request&, CancelToken) { return health(); });
  router_.add(Method::get, "/metrics", [this](Request&, CancelToken) { return metrics(); });
}

Task<Response> Api::run(Request& request, CancelToken client_gone) {
  auto body = parse_run_body(request.body);
  if (!body) {
    metrics_.run_failed(body.error());
    co_return http::error_response(body.error());
  }
  std::string().swap(request.body);  // may be megabytes, and the run may wait for long
  auto report = co_await runner_.run(std::move(body->request), client_gone);
  if (!report) {
    metrics_.run_failed(report.error());
    co_return http::error_response(report.error());
  }
  metrics_.run_finished(*report);
  co_return answer_response(std::make_shared<RunAnswer>(std::move(*report), body->output_encoding));
}

Task<Response> Api::languages() {
  JsonWriter json;
  json.begin_object().key("languages").begin_array();
  for (size_t i = 0; i < runner_.languages().size(); ++i) {
    const engine::Language& language = runner_.languages()[i];
    const engine::Limits& limits = language.limits;
    json.begin_object().field("name", language.name).field("version", language.version);
    if (!language.image.empty()) json.field("image", language.image);
    json.field("state", runner_.state(i).name());
    json.key("limits").begin_object();
    json.field("wall_ms", limits.wall_ms).field("cpu_ms", limits.cpu_ms).field("memory_mb", limits.memory_mb);
    json.field("output_bytes", limits.output_bytes).field("processes", limits.processes);
    json.field("disk_mb", limits.disk_mb).end_object().end_object();
  }
  json.end_array().end_object();
  co_return Response{.body = json.take()};
}

void Api::write_language_states(JsonWriter& json) const {
  json.key("languages").begin_array();
  for (size_t i = 0; i < runner_.languages().size(); ++i) {
    const engine::Language& language = runner_.languages()[i];
    const engine::LanguageState& state = runner_.state(i);
    json.begin_object().field("language", language.name).field("version", language.version);
    json.field("state", state.name()).field("detail", state.sentence());
    json.field("done_bytes", state.done_bytes).field("total_bytes", state.total_bytes).end_object();
  }
  json.end_array();
}

Task<Response> Api::health() {
  JsonWriter json;
  json.begin_object().field("status", runner_.draining() ? "draining" : "ok");
  json.field("engine", runner_.engine().name()).key("warnings").begin_array();
  for (const std::string& warning : warnings_) json.value(warning);
  json.end_array()
      .field("running", runner_.running())
      .field("queued", runner_.queued())
      .key("pools")
      .begin_array();
  for (const engine::PoolStatus& pool : runner_.pools()) {
    json.begin_object()
        .field("language", pool.language)
        .field("version", pool.version)
        .field("ready", pool.ready);
    json.field("starting", pool.starting)
        .field("target", pool.target)
        .field("started_total", pool.started_total);
    json.field("failed_total", pool.failed_total).end_object();
  }
  json.end_array();
  write_language_states(json);
  json.end_object();
  co_return Response{.status = runner_.draining() ? 503 : 200, .body = json.take()};
}

Task<Response> Api::metrics() {
  const auto server = server_ != nullptr ? server_->statistics() : http::ServerStatistics{};
  co_return Response{.body = metrics_.text(runner_, reactor_, server),
                     .content_type = "text/plain; version=0.0.4; charset=utf-8"};
}

}  // namespace lambdo::api
