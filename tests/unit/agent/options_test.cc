#include "agent/options.h"

#include <string>
#include <vector>

#include "test.h"

namespace lambdo::agent {

static Result<Options> parse(std::vector<const char*> arguments) {
  std::vector<char*> pointers;
  for (const char* argument : arguments) pointers.push_back(const_cast<char*>(argument));
  return parse_options(pointers);
}

TEST_CASE("the agent's flags take their value as the next argument or after an equals sign") {
  const Options options = parse({"--fd", "7", "--workspace=/w"}).value();
  CHECK_EQ(options.fd, 7);
  CHECK_EQ(options.workspace, "/w");
  CHECK_EQ(parse({"--fd=3"}).value().workspace, "/workspace");
  CHECK(parse({"--help"}).value().help);
}

TEST_CASE("a machine's configuration has the same flags, one argument a line") {
  const Options options = parse_options_file(
                              "--token\nabc\n\n--listen-port=7\n--register-port\nunix:/run/api\n"
                              "--environment=A=b c=d\n--environment\nE=\n--disk-mb\n12\n--user=33:34")
                              .value();
  CHECK_EQ(options.token, "abc");
  CHECK_EQ(options.listen_at.port, 7);
  CHECK_EQ(options.register_at.unix_path, "/run/api");
  CHECK_EQ(options.environment, std::vector<std::string>{"A=b c=d", "E="});
  CHECK_EQ(options.disk_mb, 12);
  CHECK_EQ(options.user.uid, 33);
  CHECK_EQ(options.user.gid, 34);
  const Options defaults = parse_options_file("").value();
  CHECK_EQ(defaults.fd, -1);
  CHECK_EQ(defaults.register_at.port, 50051);
  CHECK_EQ(defaults.listen_at.port, 50051);
  CHECK_EQ(defaults.hostname, "lambdo");
  CHECK_EQ(defaults.user.uid, 1000);
  CHECK(!parse_options_file("--token"));
}

TEST_CASE("a bad flag is named") {
  const struct {
    std::vector<const char*> arguments;
    const char* told;
  } cases[] = {
      {{"--fd"}, "--fd needs a value"},
      {{"--fd", "x"}, "not x"},
      {{"--fd", "-1"}, "not -1"},
      {{"--fd", "1"}, "not 1"},
      {{"--fd", "99999999999"}, "not 99999999999"},
      {{"--port", "1"}, "--port"},
      {{"--register-port", "0"}, "--register-port: not a port: 0"},
      {{"--listen-port", "4294967295"}, "--listen-port: not a port"},
      {{"--listen-port", "unix:"}, "--listen-port: a Unix socket's path"},
      {{"--hostname", "12345678901234567890123456789012345678901234567890123456789012345"},
       "--hostname is longer"},
      {{"--disk-mb", "1048577"}, "--disk-mb must be"},
      {{"--user", "0:0"}, "--user must be two numbers"},
      {{"--user", "1000"}, "--user must be two numbers"},
      {{"--user", "4294967295:1"}, "--user must be two numbers"},
      {{"--environment", "=x"}, "--environment must be"},
      {{"--environment", "X"}, "--environment must be"},
      {{"--fd=3", "--workspace="}, "--workspace needs a value"},
  };
  for (const auto& [arguments, told] : cases) {
    CAPTURE(told);
    const auto options = parse(arguments);
    REQUIRE(!options);
    CHECK_EQ(options.error().code, Code::invalid_argument);
    CHECK_NE(options.error().message.find(told), std::string::npos);
  }
}

}  // namespace lambdo::agent
