#include "api/run_model.h"

#include "test.h"

namespace lambdo::api {

TEST_CASE("a whole request is read") {
  const auto body = parse_run_body(R"({
    "language": "Python", "version": "3.11", "input": "in", "entrypoint": "b.py",
    "code": [{"filename": "a.py", "content": "x=1\n"}, {"filename": "b.py", "content": "aGk=", "encoding": "base64"}],
    "args": ["-v", ""], "env": {"A": "1"}, "limits": {"wall_ms": 5, "memory_mb": 64}, "output_encoding": "base64",
    "unknown": [1, {"deep": null}]})");
  REQUIRE(body);
  const engine::RunRequest& request = body->request;
  CHECK_EQ(request.language, "Python");
  CHECK_EQ(request.version, "3.11");
  CHECK_EQ(request.input, "in");
  CHECK_EQ(request.entrypoint, "b.py");
  REQUIRE_EQ(request.code.size(), 2);
  CHECK_EQ(request.code[0].content, "x=1\n");
  CHECK_EQ(request.code[1].content, "hi");
  CHECK_EQ(request.args, std::vector<std::string>{"-v", ""});
  CHECK_EQ(request.environment[0].second, "1");
  CHECK_EQ(request.limits.wall_ms, 5);
  CHECK_EQ(request.limits.memory_mb, 64);
  CHECK(!request.limits.cpu_ms);
  CHECK(body->output_encoding == OutputEncoding::base64);
}

TEST_CASE("input may be base64") {
  const auto body = parse_run_body(R"({"language":"c","input":"AP8=","input_encoding":"base64","code":[]})");
  REQUIRE(body);
  CHECK_EQ(body->request.input, std::string("\0\xff", 2));
}

TEST_CASE("version and input may be empty, null or absent") {
  for (const char* json :
       {R"({"language":"c","code":[]})", R"({"language":"c","version":"","input":"","code":[]})",
        R"({"language":"c","version":null,"input":null,"limits":null,"code":[]})"}) {
    const auto body = parse_run_body(json);
    REQUIRE(body);
    CHECK(body->request.version.empty());
    CHECK(body->request.input.empty());
  }
}

TEST_CASE("what is wrong with a body is told by its field") {
  struct Case {
    std::string json;
    const char* message;
  };
  const Case cases[] = {
      {"", "body: is not JSON: "},
      {"{", "body: is not JSON: "},
      {"[]", "body: must be a JSON object, not an array"},
      {std::string(2000, '['), "body: is not JSON: "},
      {"{\"language\":\"\xff\"}", "body: is not JSON: "},
      {"{}", "language: is missing"},
      {R"({"language":7})", "language: must be a string, not a number"},
      {R"({"language":"c"})", "code: is missing"},
      {R"({"language":"c","code":{}})", "code: must be an array of files, not an object"},
      {R"({"language":"c","code":["x"]})", "code[0]: must be an object, not a string"},
      {R"({"language":"c","code":[{"content":""}]})", "code[0].filename: is missing"},
      {R"({"language":"c","code":[{"filename":"a"}]})", "code[0].content: is missing"},
      {R"({"language":"c","code":[{"filename":"a","content":1}]})",
       "code[0].content: must be a string, not a number"},
      {R"({"language":"c","code":[{"filename":"a","content":"!","encoding":"base64"}]})",
       "code[0].content: is not base64"},
      {R"({"language":"c","code":[{"filename":"a","content":"","encoding":"gzip"}]})",
       "code[0].encoding: must be"},
      {R"({"language":"c","code":[],"input":"?","input_encoding":"base64"})", "input: is not base64"},
      {R"({"language":"c","code":[],"args":"x"})", "args: must be an array of strings, not a string"},
      {R"({"language":"c","code":[],"args":["a",1]})", "args[1]: must be a string, not a number"},
      {R"({"language":"c","code":[],"env":[]})", "env: must be an object of strings, not an array"},
      {R"({"language":"c","code":[],"env":{"A":true}})", "env.A: must be a string, not a boolean"},
      {R"({"language":"c","code":[],"limits":1})", "limits: must be an object, not a number"},
      {R"({"language":"c","code":[],"limits":{"wall_ms":-1}})",
       "limits.wall_ms: must be a positive whole number"},
      {R"({"language":"c","code":[],"limits":{"wall_ms":1.5}})",
       "limits.wall_ms: must be a positive whole number"},
      {R"({"language":"c","code":[],"limits":{"wall_ms":"1"}})",
       "limits.wall_ms: must be a positive whole number, not a string"},
      {R"({"language":"c","code":[],"limits":{"wall_ms":1e400}})", "body: is not JSON: "},
      {R"({"language":"c","code":[],"output_encoding":"latin1"})", "output_encoding: must be"},
  };
  for (const Case& each : cases) {
    CAPTURE(each.json);
    const auto body = parse_run_body(each.json);
    REQUIRE(!body);
    CHECK_EQ(body.error().code, Code::invalid_argument);
    CHECK_MESSAGE(body.error().message.starts_with(each.message), body.error().message);
  }
}

static engine::RunReport some_report() {
  engine::RunReport report{
      .id = "r1", .engine = "namespace", .language = "c", .version = "12", .status = 137};
  report.standard_output = "a\xff";
  engine::StepReport step{.command = "./a", .exit_code = 137, .signal = 9, .standard_output = "a\xff"};
  step.wall_us = 1500;
  step.oom_killed = true;
  report.steps = {step, {.command = "b"}};
  report.timings = {1, 2, 3, 6};
  return report;
}

TEST_CASE("the answer has the original's fields and ours") {
  CHECK_EQ(run_report_json(some_report(), OutputEncoding::utf8),
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
  const std::string json = run_report_json(some_report(), OutputEncoding::base64);
  CHECK(json.contains(R"("stdout":"Yf8=")"));
  CHECK(json.contains(R"("output_encoding":"base64")"));
}

}  // namespace lambdo::api
