#include "api/run_answer.h"

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/text.h"

#include "test.h"

namespace lambdo::api {

static engine::RunReport some_report() {
  engine::RunReport report{
      .id = "r1", .engine = "namespace", .language = "c", .version = "12", .status = 137};
  engine::StepReport step{.command = "./a", .exit_code = 137, .signal = 9, .standard_output = "a\xff"};
  step.wall_us = 1500;
  step.oom_killed = true;
  report.steps = {step, {.command = "b"}};
  report.timings = {1, 2, 3, 6};
  return report;
}

/// A report of steps with these standard outputs, and as much standard error.
static engine::RunReport report_of(const std::vector<std::string>& outputs) {
  engine::RunReport report;
  for (const std::string& output : outputs) {
    report.steps.push_back({.standard_output = output, .standard_error = output});
  }
  return report;
}

static std::string text_of(engine::RunReport report, OutputEncoding encoding) {
  return RunAnswer(std::move(report), encoding).text();
}

TEST_CASE("the answer has the original's fields and ours") {
  CHECK_EQ(text_of(some_report(), OutputEncoding::utf8),
           "{\"id\":\"r1\",\"engine\":\"namespace\",\"language\":\"c\",\"version\":\"12\",\"status\":137,"
           "\"stdout\":\"a\xef\xbf\xbd\",\"stderr\":\"\",\"steps\":["
           "{\"command\":\"./a\",\"exit_code\":137,\"signal\":9,\"stdout\":\"a\xef\xbf\xbd\",\"stderr\":\"\","
           "\"wall_ms\":1.5,\"cpu_ms\":0,\"max_rss_kb\":0,\"timed_out\":false,\"oom_killed\":true,"
           "\"truncated\":false},"
           "{\"command\":\"b\",\"exit_code\":0,\"signal\":null,\"stdout\":\"\",\"stderr\":\"\","
           "\"wall_ms\":0,\"cpu_ms\":0,\"max_rss_kb\":0,\"timed_out\":false,\"oom_killed\":false,"
           "\"truncated\":false}],"
           "\"timings\":{\"queue_us\":1,\"acquire_us\":2,\"execute_us\":3,\"total_us\":6}}");
}

TEST_CASE("base64 is exact and marked") {
  const std::string json = text_of(some_report(), OutputEncoding::base64);
  CHECK(json.contains(R"("stdout":"Yf8=")"));
  CHECK(json.contains(R"("output_encoding":"base64")"));
}

TEST_CASE("the steps' outputs are joined, also where a character or a group of base64 crosses them") {
  CHECK(text_of(report_of({"a\n", "b\n"}), OutputEncoding::utf8)
            .contains(R"("stdout":"a\nb\n","stderr":"a\nb\n")"));
  CHECK(text_of(report_of({"\xe2\x82", "\xac"}), OutputEncoding::utf8).contains("\"stdout\":\"\u20ac\""));
  CHECK(text_of(report_of({"M", "", "an"}), OutputEncoding::base64).contains(R"("stdout":"TWFu")"));
}

TEST_CASE("the whole run's stderr of a timeout is Timeout, what was written staying in its step") {
  engine::RunReport report = report_of({"partial"});
  report.timed_out = true;
  const std::string json = text_of(std::move(report), OutputEncoding::utf8);
  CHECK(json.contains(R"("stdout":"partial","stderr":"Timeout","steps")"));
  CHECK(json.contains(R"("stdout":"partial","stderr":"partial","wall_ms")"));
}

TEST_CASE("a large answer is the same in pieces, each of bounded size, wherever the pieces are cut") {
  const std::string unit = "x\u00e4\u20ac\U0001F600\x01\xff\xf0\x9f";
  std::string output;
  while (output.size() < 200'000) output += unit;
  std::string expected;
  append_json_string(expected, output);
  for (size_t shift = 0; shift < unit.size(); ++shift) {
    CAPTURE(shift);
    RunAnswer answer(report_of({output.substr(0, shift), output.substr(shift)}), OutputEncoding::utf8);
    CHECK_EQ(answer.output_bytes(), 2 * output.size());
    std::string text;
    size_t pieces = 0;
    for (bool more = true; more; ++pieces) {
      std::string piece;
      more = answer.append_piece(piece);
      CHECK(piece.size() < (7U << 16));
      text += piece;
    }
    CHECK(pieces > 12);
    CHECK(text.contains("\"stdout\":" + expected + ",\"stderr\":" + expected + ","));
  }
  const std::string base64 =
      text_of(report_of({output.substr(0, 7), output.substr(7)}), OutputEncoding::base64);
  CHECK(base64.contains("\"stdout\":\"" + base64_encode(output) + "\",\"stderr\""));
}

TEST_CASE("output that is one long invalid sequence is answered in full") {
  const std::string output(150'000, '\x80');
  std::string expected;
  append_json_string(expected, output);
  CHECK(text_of(report_of({output}), OutputEncoding::utf8).contains("\"stdout\":" + expected));
}

}  // namespace lambdo::api
