#include "agent/options.h"

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

TEST_CASE("a bad flag is named") {
  const struct {
    std::vector<const char*> arguments;
    const char* told;
  } cases[] = {
      {{}, "--fd"},
      {{"--fd"}, "--fd needs a value"},
      {{"--fd", "x"}, "not x"},
      {{"--fd", "-1"}, "not -1"},
      {{"--fd", "1"}, "not 1"},
      {{"--fd", "99999999999"}, "not 99999999999"},
      {{"--port", "1"}, "--port"},
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
