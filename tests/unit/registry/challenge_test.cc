#include "registry/challenge.h"

#include <string>
#include <vector>

#include "test.h"

namespace lambdo::registry {
namespace {

/// The challenges as a text that is easy to compare: "scheme token68 name=<value> ...; scheme ...".
std::string described(const std::vector<Challenge>& challenges) {
  std::string out;
  for (const Challenge& challenge : challenges) {
    if (!out.empty()) out += "; ";
    out += challenge.scheme;
    if (!challenge.token68.empty()) out += " " + challenge.token68;
    for (const auto& [name, value] : challenge.parameters)
      out.append(" ").append(name).append("=<" + value + ">");
  }
  return out;
}

TEST_CASE("challenges are read as RFC 9110 writes them") {
  const struct {
    std::string_view field;
    std::string_view challenges;
  } rows[] = {
      {"", ""},
      {" , ,", ""},
      {"Basic", "basic"},
      {"Basic realm=\"Registry\"", "basic realm=<Registry>"},
      {"BASIC REALM=simple", "basic realm=<simple>"},
      {R"(Bearer realm="https://a.example/token",service="reg",scope="repository:a/b:pull,push",error="invalid_token")",
       "bearer realm=<https://a.example/token> service=<reg> scope=<repository:a/b:pull,push> "
       "error=<invalid_token>"},
      {"Bearer  realm = \"x\" ,\tservice\t=\t\"y\"", "bearer realm=<x> service=<y>"},
      {R"(Bearer realm="a\"b\\c\d")", R"(bearer realm=<a"b\cd>)"},
      {R"(Bearer realm="", service="")", "bearer realm=<> service=<>"},
      {R"(Bearer realm="x",,service="y",)", "bearer realm=<x> service=<y>"},
      {R"(Basic realm="a, b", Bearer realm="c")", "basic realm=<a, b>; bearer realm=<c>"},
      {R"(Negotiate, Basic realm="x")", "negotiate; basic realm=<x>"},
      {R"(Negotiate YWJj==, Bearer realm="x")", "negotiate YWJj==; bearer realm=<x>"},
      {"Negotiate a.b-c_d~e+f/g=", "negotiate a.b-c_d~e+f/g="},
      {R"(Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple")",
       R"(newauth realm=<apps> type=<1> title=<Login to "apps">; basic realm=<simple>)"},
      {"Bearer realm=\"caf\xc3\xa9\"", "bearer realm=<caf\xc3\xa9>"},
      {"Basic ,Bearer realm=x", "basic; bearer realm=<x>"},
      {"  Basic realm=x  ", "basic realm=<x>"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.field);
    const auto challenges = parse_challenges(row.field);
    REQUIRE_MESSAGE(challenges, challenges.error().message);
    CHECK(described(*challenges) == row.challenges);
  }
}

TEST_CASE("what the grammar does not allow is refused with its place") {
  std::string many;
  for (int i = 0; i < 17; ++i) many += "A, ";
  std::string long_challenge = "A ";
  for (int i = 0; i < 33; ++i) long_challenge += "p" + std::to_string(i) + "=x,";
  const struct {
    std::string field;
    std::string_view reason;
  } rows[] = {
      {"=", "name of a scheme"},
      {"\"Basic\"", "name of a scheme"},
      {"Basic=x", "ends with a space"},
      {"Bearer realm=\"x", "not closed"},
      {"Bearer realm=\"x\\", "not closed"},
      {"Bearer realm=\"x\\\"", "not closed"},
      {"Bearer realm=\"x\" service=\"y\"", "comma is missing"},
      {"Bearer realm=,service=x", "ends with a space"},
      {"Bearer realm=;", "value of a parameter"},
      {"Bearer =x", "name of a parameter"},
      {"Bearer realm=x, \"y\"", "name of a parameter"},
      {"Bearer realm=a, Realm=b", "there twice"},
      {std::string("Bearer realm=\"a\0b\"", 18), "control character"},
      {"Bearer realm=\"a\nb\"", "control character"},
      {"Bearer realm=\"a\\\x01\"", "control character"},
      {many, "too many challenges"},
      {long_challenge, "too many parameters"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.field);
    const auto challenges = parse_challenges(row.field);
    REQUIRE(!challenges);
    CHECK(challenges.error().code == Code::registry_failed);
    CHECK_MESSAGE(challenges.error().message.find(row.reason) != std::string::npos,
                  challenges.error().message);
  }
}

TEST_CASE("every cut of a field is read or refused, and none hangs") {
  const std::string field = R"(Basic realm="a \" b", Negotiate YWJj==, Bearer realm="https://x/t",service=y)";
  for (size_t len = 0; len <= field.size(); ++len) {
    const auto challenges = parse_challenges(field.substr(0, len));
    if (challenges) CHECK(challenges->size() <= 4);
  }
}

}  // namespace
}  // namespace lambdo::registry
