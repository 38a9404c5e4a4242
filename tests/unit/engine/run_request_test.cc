#include "engine/run_request.h"

#include "lambdo.pb.h"
#include "test.h"

namespace lambdo::engine {

static std::vector<Language> some_languages() {
  Language python{
      .name = "python", .version = "3.11", .steps = {{.command = "python3 {{filename}} {{args}}"}}};
  Language old_python{.name = "python", .version = "3.8", .steps = {{.command = "python3.8 {{filename}}"}}};
  Language c{.name = "c",
             .version = "12",
             .steps = {{.command = "gcc {{filename}}", .output_enabled = false}, {.command = "./a.out"}}};
  return {python, old_python, c};
}

static RunRequest some_request() {
  RunRequest request;
  request.language = "python";
  request.code = {{"main.py", "print(1)"}, {"lib/util.py", ""}};
  return request;
}

TEST_CASE("a language is found without regard to case, a version exactly, no version meaning the first") {
  const auto languages = some_languages();
  struct Case {
    const char* name;
    const char* version;
    int index;  // -1: not found
  };
  for (const Case& each : {Case{"python", "", 0}, Case{"PyThOn", "3.8", 1}, Case{"C", "12", 2},
                           Case{"python", "3", -1}, Case{"ruby", "", -1}, Case{"pytho", "", -1}}) {
    CAPTURE(each.name);
    RunRequest request = some_request();
    request.language = each.name;
    request.version = each.version;
    const auto found = find_language(languages, request);
    if (each.index >= 0) {
      CHECK_EQ(found.value(), each.index);
    } else {
      REQUIRE(!found);
      CHECK_EQ(found.error().code, Code::not_found);
      CHECK(found.error().message.contains("python 3.11, python 3.8, c 12"));
    }
  }
}

TEST_CASE("a request's limits replace the language's, up to the server's maxima") {
  const Language language = some_languages()[0];
  const Limits max{.wall_ms = 60'000, .memory_mb = 512};
  CHECK_EQ(effective_limits(language, {}, max).value(), language.limits);
  CHECK_EQ(effective_limits(language, {.wall_ms = 60'000}, max)->wall_ms, 60'000);
  CHECK_EQ(effective_limits(language, {.memory_mb = 16}, max)->memory_mb, 16);
  CHECK_EQ(effective_limits(language, {.memory_mb = 15}, max).error().message,
           "limits.memory_mb: must be at least 16");
  const auto over = effective_limits(language, {.memory_mb = 513}, max);
  REQUIRE(!over);
  CHECK_EQ(over.error().message, "limits.memory_mb: 513 is over this server's maximum of 512");
  CHECK_EQ(effective_limits(language, {.processes = 0}, max).error().message,
           "limits.processes: must be at least 1");
}

TEST_CASE("file names that are no files below the workspace are refused by their field") {
  const std::string nul("a\0b", 3);
  for (const std::string& name :
       {std::string(""), std::string("/etc/passwd"), std::string("../x"), std::string("a/../../x"),
        std::string("a/.."), std::string("a/"), std::string("a//b"), std::string("./a"), nul,
        std::string(600, 'a'), std::string(256, 'b')}) {
    CAPTURE(name);
    RunRequest request = some_request();
    request.code[1].filename = name;
    const auto checked = validate(request);
    REQUIRE(!checked);
    CHECK_EQ(checked.error().code, Code::invalid_argument);
    CHECK(checked.error().message.starts_with("code[1].filename: "));
  }
  for (const char* name : {"..a", "a..b", "a b.py", "-rf", "...", "ü/x"}) {
    RunRequest request = some_request();
    request.code[1].filename = name;
    CHECK(validate(request).has_value());
  }
}

TEST_CASE("what a request gets wrong beside its files is refused by its field") {
  struct Case {
    const char* field;
    void (*spoil)(RunRequest&);
  };
  const Case cases[] = {
      {"language: ", [](RunRequest& r) { r.language.clear(); }},
      {"code: ", [](RunRequest& r) { r.code.clear(); }},
      {"code: ", [](RunRequest& r) { r.code.resize(300, {"x", ""}); }},
      {"code[1].filename: ", [](RunRequest& r) { r.code[1].filename = "main.py"; }},
      {"entrypoint: ", [](RunRequest& r) { r.entrypoint = "other.py"; }},
      {"args[0]: ", [](RunRequest& r) { r.args = {std::string("a\0b", 3)}; }},
      {"args[0]: ", [](RunRequest& r) { r.args = {std::string(70'000, 'a')}; }},
      {"args: ", [](RunRequest& r) { r.args.resize(300); }},
      {"args: ", [](RunRequest& r) { r.args.resize(20, std::string(60'000, 'a')); }},
      {"env: ", [](RunRequest& r) { r.environment = {{"A=B", ""}}; }},
      {"env: ", [](RunRequest& r) { r.environment = {{"", ""}}; }},
      {"env: ", [](RunRequest& r) { r.environment = {{"1A", ""}}; }},
      {"env.A: ", [](RunRequest& r) { r.environment = {{"A", std::string("\0", 1)}}; }},
  };
  for (const Case& each : cases) {
    CAPTURE(each.field);
    RunRequest request = some_request();
    each.spoil(request);
    const auto checked = validate(request);
    REQUIRE(!checked);
    CHECK(checked.error().message.starts_with(each.field));
  }
}

TEST_CASE("the entrypoint reaches the shell quoted, and never as an option") {
  struct Case {
    const char* filename;
    const char* command;
  };
  for (const Case& each :
       {Case{"main.py", "python3 'main.py' \"$@\""}, Case{"it's.py", "python3 'it'\\''s.py' \"$@\""},
        Case{"$(x) y", "python3 '$(x) y' \"$@\""}, Case{"-c", "python3 './-c' \"$@\""},
        Case{"{{args}}", "python3 '{{args}}' \"$@\""}}) {
    RunRequest request = some_request();
    request.code = {{each.filename, ""}};
    const auto message = build_execute_request(request, some_languages()[0], {}, "id");
    CHECK_EQ(message.steps(0).command(), each.command);
  }
}

TEST_CASE("arguments of a language without a place for them go behind its last step") {
  RunRequest request = some_request();
  request.args = {"a b", "c"};
  const auto message = build_execute_request(request, some_languages()[2], {}, "id");
  CHECK_EQ(message.steps(0).command(), "gcc 'main.py'");
  CHECK_EQ(message.steps(1).command(), "./a.out \"$@\"");
  CHECK_EQ(message.steps(1).arguments_size(), 2);
  CHECK_EQ(message.steps(1).arguments(0), "a b");
  CHECK(!message.steps(0).enable_output());
}

TEST_CASE("the input is standard input and the file input.input, unless the request brings such a file") {
  RunRequest request = some_request();
  request.input = "42\n";
  const auto message = build_execute_request(request, some_languages()[0], {}, "id");
  CHECK_EQ(message.input(), "42\n");
  REQUIRE_EQ(message.files_size(), 3);
  CHECK_EQ(message.files(2).filename(), "input.input");
  CHECK_EQ(message.files(2).content(), "42\n");
  request.code.push_back({"input.input", "own"});
  CHECK_EQ(build_execute_request(request, some_languages()[0], {}, "id").files_size(), 3);
}

TEST_CASE("what an agent of the original does not know is told to its shell, as far as there is something") {
  Language language = some_languages()[0];
  language.has_own_init = true;
  RunRequest request = some_request();
  request.args = {};
  request.environment = {};
  request.input.clear();
  const std::string plain = build_execute_request(request, language, {}, "id").steps(0).command();
  CHECK_EQ(plain, build_execute_request(request, some_languages()[0], {}, "id").steps(0).command());
  request.args = {"it's", ""};
  request.environment = {{"A", "1;2"}};
  request.input = "x";
  CHECK_EQ(build_execute_request(request, language, {}, "id").steps(0).command(),
           "export A='1;2'; [ ! -r input.input ] || exec <input.input; set -- 'it'\\''s' ''; " + plain);
}

TEST_CASE("only files that take a good part of the disk may be said to have filled it") {
  const Limits limits{.disk_mb = 2};
  RunRequest request = some_request();
  request.code.front().content = std::string((1 << 20) + 1, 'x');
  CHECK(may_fill_disk(build_execute_request(request, some_languages()[0], limits, "id"), limits));
  request.code.front().content = std::string(1 << 19, 'x');
  CHECK(!may_fill_disk(build_execute_request(request, some_languages()[0], limits, "id"), limits));
}

static grpc_definitions::ExecuteRequest asked(const Language& language) {
  return build_execute_request(some_request(), language, {}, "id");
}

static grpc_definitions::ExecuteResponse answer(std::initializer_list<int> exit_codes) {
  grpc_definitions::ExecuteResponse response;
  for (const int exit_code : exit_codes) {
    auto* step = response.add_steps();
    step->set_exit_code(exit_code);
    step->set_stdout("out" + std::to_string(response.steps_size()) + "\n");
    step->set_stderr("err" + std::to_string(response.steps_size()) + "\n");
  }
  return response;
}

TEST_CASE("a step with output disabled contributes no stdout, the last exit code is the status") {
  const auto report = read_execute_response(answer({0, 3}), asked(some_languages()[2]), {});
  REQUIRE(report);
  CHECK_EQ(report->status, 3);
  CHECK_EQ(report->steps[0].command, "gcc 'main.py'");
  CHECK_EQ(report->steps[0].standard_output, "");
  CHECK_EQ(report->steps[0].standard_error, "err1\n");
  CHECK_EQ(report->steps[1].standard_output, "out2\n");
}

TEST_CASE("a timeout is status 128, the partial output staying in its step") {
  auto response = answer({137});
  response.mutable_steps(0)->set_timed_out(true);
  response.mutable_steps(0)->set_signal(9);
  const auto report = read_execute_response(std::move(response), asked(some_languages()[0]), {});
  REQUIRE(report);
  CHECK_EQ(report->status, 128);
  CHECK(report->timed_out);
  CHECK_EQ(report->steps[0].standard_error, "err1\n");
  CHECK(report->steps[0].timed_out);
}

TEST_CASE("an agent's answer that cannot be true is a protocol error") {
  const auto languages = some_languages();
  CHECK_EQ(read_execute_response({}, asked(languages[0]), {}).error().code, Code::agent_protocol);
  CHECK_EQ(read_execute_response(answer({0, 0}), asked(languages[0]), {}).error().code, Code::agent_protocol);
  const Limits tiny{.output_bytes = 3};
  CHECK_EQ(read_execute_response(answer({0}), asked(languages[0]), tiny).error().code, Code::agent_protocol);
  auto signalled = answer({0});
  signalled.mutable_steps(0)->set_signal(1000);
  CHECK_EQ(read_execute_response(std::move(signalled), asked(languages[0]), {}).error().code,
           Code::agent_protocol);
  auto unfitting = answer({0});
  unfitting.mutable_steps(0)->set_signal(9);
  CHECK_EQ(read_execute_response(std::move(unfitting), asked(languages[0]), {}).error().code,
           Code::agent_protocol);
}

TEST_CASE("a guest that was killed as a whole names its step only where there was but one") {
  const auto languages = some_languages();
  const RunReport one = killed_report(asked(languages[0]));
  CHECK_EQ(one.status, 137);
  CHECK_EQ(one.steps[0].command, "python3 'main.py' \"$@\"");
  CHECK(killed_report(asked(languages[2])).steps[0].command.empty());
  const RunReport late = timeout_report(asked(languages[0]), Limits{.wall_ms = 5});
  CHECK_EQ(late.status, 128);
  CHECK_EQ(late.steps[0].wall_us, 5000);
}

}  // namespace lambdo::engine
