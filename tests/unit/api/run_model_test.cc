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

TEST_CASE("a request says what it wants of the network, in a word or in detail") {
  const auto network_of = [](const std::string& json) {
    return parse_run_body(R"({"language":"c","code":[],"network":)" + json + "}");
  };
  CHECK(!parse_run_body(R"({"language":"c","code":[]})")->request.network);
  CHECK(!network_of("null")->request.network);
  CHECK(network_of("\"none\"")->request.network->access == net::Policy::Access::none);
  const auto full = network_of(R"({"access":"full","denied":["10.0.0.0/8"]})");
  REQUIRE(full);
  CHECK(full->request.network->access == net::Policy::Access::full);
  CHECK_EQ(full->request.network->denied.at(0).text(), "10.0.0.0/8");
  const auto egress = network_of(R"({"access":"egress","allowed":["203.0.113.0/24",
      {"to":"0.0.0.0/0","protocol":"tcp","ports":"80-443"},{"to":"1.2.3.4","protocol":"udp","ports":53}]})");
  REQUIRE(egress);
  const auto& allowed = *egress->request.network->allowed;
  REQUIRE_EQ(allowed.size(), 3);
  CHECK(allowed[0].protocol == net::Policy::Protocol::any);
  CHECK_EQ(allowed[1].first_port, 80);
  CHECK_EQ(allowed[1].last_port, 443);
  CHECK(allowed[2].protocol == net::Policy::Protocol::udp);
  CHECK_EQ(allowed[2].to.text(), "1.2.3.4/32");
  CHECK_EQ(allowed[2].first_port, 53);
}

TEST_CASE("what is wrong with a request's network is named by its field") {
  const struct {
    const char* json;
    const char* start;
  } cases[] = {
      {R"(1)", "network: must be a string"},
      {R"("open")", "network: \"open\" is not an access"},
      {R"({"allowed":[]})", "network.access: is missing"},
      {R"({"access":"egress","allowed":"all"})", "network.allowed: must be an array"},
      {R"({"access":"egress","allowed":["1.2.3.4",{"protocol":"tcp"}]})",
       "network.allowed[1].to: is missing"},
      {R"({"access":"egress","allowed":["::/0","::/129"]})",
       "network.allowed[1]: \"::/129\" is not a network"},
      {R"({"access":"egress","allowed":[{"to":"0.0.0.0/0","protocol":"icmp"}]})",
       "network.allowed[0].protocol: "},
      {R"({"access":"egress","allowed":[{"to":"0.0.0.0/0","protocol":"tcp","ports":"443-80"}]})",
       "network.allowed[0].ports: \"443-80\" are not ports"},
      {R"({"access":"egress","allowed":[{"to":"0.0.0.0/0","ports":70000}]})", "network.allowed[0].ports: "},
      {R"({"access":"egress","allowed":[{"to":"0.0.0.0/0","ports":80}]})",
       "network: ports of 0.0.0.0/0 need"},
      {R"({"access":"full","allowed":["1.2.3.4"]})", "network: allowed is for egress only"},
      {R"({"access":"none","denied":["1.2.3.4"]})", "network: denied is for egress and full only"},
      {R"({"access":"full","denied":[1]})", "network.denied[0]: must be a string"},
  };
  for (const auto& [json, start] : cases) {
    CAPTURE(json);
    const auto body = parse_run_body(R"({"language":"c","code":[],"network":)" + std::string(json) + "}");
    REQUIRE_FALSE(body);
    CHECK_EQ(body.error().code, Code::invalid_argument);
    CHECK_MESSAGE(body.error().message.starts_with(start), body.error().message);
  }
}

}  // namespace lambdo::api
