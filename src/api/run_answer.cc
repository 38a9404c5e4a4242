#include "api/run_answer.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace lambdo::api {

static constexpr size_t kPieceBytes = 32 << 10;
// A control character is six bytes of JSON.
static constexpr size_t kMaxGrowth = 6;

static double to_ms(uint64_t us) {
  return static_cast<double>(us) / 1000.0;
}

RunAnswer::RunAnswer(engine::RunReport report, OutputEncoding encoding)
    : report_(std::move(report)), encoding_(encoding) {
  JsonWriter json;
  json.begin_object().field("id", report_.id).field("engine", report_.engine);
  json.field("language", report_.language).field("version", report_.version).field("status", report_.status);
  begin_output(json, "stdout");
  for (const engine::StepReport& step : report_.steps) add_part(step.standard_output);
  begin_output(json, "stderr");
  if (report_.timed_out) {
    add_part(engine::kTimeoutMessage);
  } else {
    for (const engine::StepReport& step : report_.steps) add_part(step.standard_error);
  }
  if (encoding == OutputEncoding::base64) json.field("output_encoding", "base64");
  json.key("steps").begin_array();
  for (const engine::StepReport& step : report_.steps) write_step(json, step);
  json.end_array();
  const engine::RunTimings& timings = report_.timings;
  json.key("timings").begin_object();
  json.field("queue_us", timings.queue_us).field("acquire_us", timings.acquire_us);
  json.field("execute_us", timings.execute_us).field("total_us", timings.total_us);
  json.end_object().end_object();
  text_ = json.take();
}

void RunAnswer::write_step(JsonWriter& json, const engine::StepReport& step) {
  output_bytes_ += step.standard_output.size() + step.standard_error.size();
  json.begin_object().field("command", step.command).field("exit_code", step.exit_code).key("signal");
  if (step.signal == 0) {
    json.null();
  } else {
    json.value(step.signal);
  }
  begin_output(json, "stdout");
  add_part(step.standard_output);
  begin_output(json, "stderr");
  add_part(step.standard_error);
  json.field("wall_ms", to_ms(step.wall_us))
      .field("cpu_ms", to_ms(step.cpu_us))
      .field("max_rss_kb", step.max_rss_kb);
  json.field("timed_out", step.timed_out)
      .field("oom_killed", step.oom_killed)
      .field("truncated", step.truncated);
  json.end_object();
}

void RunAnswer::begin_output(JsonWriter& json, std::string_view name) {
  json.key(name).raw("\"\"");
  place_ = json.text().size() - 1;
}

void RunAnswer::add_part(std::string_view bytes) {
  if (!bytes.empty()) parts_.push_back({place_, bytes});
}

void RunAnswer::encode(std::string& out, std::string_view bytes) const {
  if (encoding_ == OutputEncoding::base64) {
    out += base64_encode(bytes);
  } else {
    append_json_escaped(out, bytes);
  }
}

size_t RunAnswer::held_bytes() const {
  // The piece, and its copy in the framing of its transport.
  return text_.size() + output_bytes_ + 2 * kMaxGrowth * kPieceBytes;
}

bool RunAnswer::append_piece(std::string& out) {
  if (part_ == parts_.size()) {
    out.append(text_, text_done_bytes_);
    text_done_bytes_ = text_.size();
    return false;
  }
  const size_t place = parts_[part_].place;
  out.append(text_, text_done_bytes_, place - text_done_bytes_);
  text_done_bytes_ = place;
  const auto more = [&] { return part_ < parts_.size() && parts_[part_].place == place; };
  std::string bytes = std::exchange(held_back_, {});
  while (more() && bytes.size() < kPieceBytes) {
    std::string_view& left = parts_[part_].bytes;
    const size_t count = std::min(left.size(), kPieceBytes - bytes.size());
    bytes.append(left.substr(0, count));
    left.remove_prefix(count);
    if (left.empty()) ++part_;
  }
  size_t whole = bytes.size();
  if (more()) whole = encoding_ == OutputEncoding::base64 ? whole / 3 * 3 : whole_utf8_prefix(bytes);
  encode(out, std::string_view(bytes).substr(0, whole));
  held_back_ = bytes.substr(whole);
  return true;
}

std::string RunAnswer::text() {
  std::string out;
  out.reserve(text_.size() + 2 * output_bytes_);
  while (append_piece(out)) {
  }
  return out;
}

}  // namespace lambdo::api
