#include "registry/reference.h"

#include <array>
#include <random>
#include <string>
#include <vector>

#include "test.h"

namespace lambdo::registry {
namespace {

const std::string kHex(64, 'a');
const std::string kDigest = "sha256:" + kHex;

struct Row {
  std::string text;
  std::string host;
  std::string repository;
  std::string tag;
  bool digest = false;
  std::string familiar;
};

const std::vector<Row>& good_rows() {
  static const std::vector<Row> rows = {
      {"python", "docker.io", "library/python", "latest", false, "python:latest"},
      {"python:3.12-slim", "docker.io", "library/python", "3.12-slim", false, "python:3.12-slim"},
      {"library/python", "docker.io", "library/python", "latest", false, "python:latest"},
      {"docker.io/python", "docker.io", "library/python", "latest", false, "python:latest"},
      {"docker.io/library/python:3", "docker.io", "library/python", "3", false, "python:3"},
      {"index.docker.io/python:3", "docker.io", "library/python", "3", false, "python:3"},
      {"someone/tool:v1", "docker.io", "someone/tool", "v1", false, "someone/tool:v1"},
      {"library/a/b", "docker.io", "library/a/b", "latest", false, "library/a/b:latest"},
      {"docker.io/a.b/c", "docker.io", "a.b/c", "latest", false, "docker.io/a.b/c:latest"},
      {"docker.io/localhost/c", "docker.io", "localhost/c", "latest", false, "docker.io/localhost/c:latest"},
      {"localhost/tool", "localhost", "tool", "latest", false, "localhost/tool:latest"},
      {"localhost:5000/tool", "localhost:5000", "tool", "latest", false, "localhost:5000/tool:latest"},
      {"localhost:5000", "docker.io", "library/localhost", "5000", false, "localhost:5000"},
      {"registry:80/a", "registry:80", "a", "latest", false, "registry:80/a:latest"},
      {"a.b", "docker.io", "library/a.b", "latest", false, "a.b:latest"},
      {"quay.io/org/x/y:1", "quay.io", "org/x/y", "1", false, "quay.io/org/x/y:1"},
      {"127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b", "latest", false, "127.0.0.1:5000/a/b:latest"},
      {"[::1]:5000/a", "[::1]:5000", "a", "latest", false, "[::1]:5000/a:latest"},
      {"[2001:db8::1]/a", "[2001:db8::1]", "a", "latest", false, "[2001:db8::1]/a:latest"},
      {"Registry/a", "Registry", "a", "latest", false, "Registry/a:latest"},
      {"xn--n3h.example/a", "xn--n3h.example", "a", "latest", false, "xn--n3h.example/a:latest"},
      {"a-b--c__d.e_f", "docker.io", "library/a-b--c__d.e_f", "latest", false, "a-b--c__d.e_f:latest"},
      {"a:_x.Y-Z", "docker.io", "library/a", "_x.Y-Z", false, "a:_x.Y-Z"},
      {"a@" + kDigest, "docker.io", "library/a", "", true, "a@" + kDigest},
      {"a:1@" + kDigest, "docker.io", "library/a", "1", true, "a:1@" + kDigest},
      {"h.example:1/a/b:1@" + kDigest, "h.example:1", "a/b", "1", true, "h.example:1/a/b:1@" + kDigest},
      {kHex + ":x", "docker.io", "library/" + kHex, "x", false, kHex + ":x"},
      {kHex + "0", "docker.io", "library/" + kHex + "0", "latest", false, kHex + "0:latest"},
      {"docker.io/" + kHex, "docker.io", "library/" + kHex, "latest", false, kHex + ":latest"},
      {std::string(247, 'a'), "docker.io", "library/" + std::string(247, 'a'), "latest", false,
       std::string(247, 'a') + ":latest"},
      {"a:" + std::string(128, 't'), "docker.io", "library/a", std::string(128, 't'), false,
       "a:" + std::string(128, 't')},
  };
  return rows;
}

TEST_CASE("names are read as Docker reads them, and their short and long forms read back") {
  for (const Row& row : good_rows()) {
    CAPTURE(row.text);
    const auto reference = Reference::parse(row.text);
    REQUIRE_MESSAGE(reference, reference.error().message);
    CHECK(reference->host == row.host);
    CHECK(reference->repository == row.repository);
    CHECK(reference->tag == row.tag);
    CHECK(reference->digest.has_value() == row.digest);
    CHECK(reference->familiar() == row.familiar);
    CHECK(Reference::parse(reference->text()).value() == *reference);
    CHECK(Reference::parse(reference->familiar()).value() == *reference);
  }
}

TEST_CASE("what is no name is refused with the part that is wrong") {
  const struct {
    std::string text;
    std::string_view reason;
  } rows[] = {
      {"", "must not be empty"},
      {kHex, "an id, not a name"},
      {"Python", "must be in lower case"},
      {"docker.io/Python", "must be in lower case"},
      {"quay.io/org/Tool:v1", "must be in lower case"},
      {"a/B", "must be in lower case"},
      {"a b", "may only have a-z"},
      {"a/", "empty component"},
      {"/a", "empty component"},
      {"a//b", "empty component"},
      {"localhost/", "name is missing"},
      {"docker.io/", "name is missing"},
      {":tag", "name is missing"},
      {"@" + kDigest, "name is missing"},
      {"-a", "start and end with"},
      {"a-", "start and end with"},
      {"a/_b", "start and end with"},
      {"a..b", "'..' is no separator"},
      {"a___b", "'___' is no separator"},
      {"a._b", "'._' is no separator"},
      {"a-_b", "'-_' is no separator"},
      {"a:", "tag after ':' is missing"},
      {"a:.x", "must start with"},
      {"a:-x", "must start with"},
      {"a:x y", "may only have letters"},
      {"a:b:c", "may only have letters"},
      {"localhost/a:80/b", "may only have letters"},
      {"a:" + std::string(129, 't'), "longer than 128"},
      {std::string(248, 'a'), "longer than 255"},
      {"a.b/" + std::string(256, 'a'), "longer than 255"},
      {std::string(252, 'h') + ".com/a", "host is longer"},
      {std::string(1025, 'a'), "too long"},
      {"a@", "sha256: and 64 digits"},
      {"a@sha256:abc", "not 3"},
      {"a@sha512:" + std::string(128, 'a'), "'sha512'"},
      {"a@sha256:" + std::string(64, 'A'), "a-f"},
      {"a@" + kDigest + "@" + kDigest, "64 digits"},
      {"a@" + kDigest + ":tag", "64 digits"},
      {".example/a", "empty part"},
      {"a..b/c", "empty part"},
      {"a./c", "empty part"},
      {"-a.b/c", "start and end with"},
      {"a-.b/c", "start and end with"},
      {"a_b.c/d", "may only have letters, digits, '-' and '.'"},
      {"a.b:/c", "from 1 to 65535"},
      {"a.b:x/c", "from 1 to 65535"},
      {"a.b:0/c", "from 1 to 65535"},
      {"a.b:65536/c", "from 1 to 65535"},
      {"[::1/c", "not closed"},
      {"[::1.2/c", "not closed"},
      {"[]:80/c", "hexadecimal digits"},
      {"[fe80::1%25eth0]:80/c", "hexadecimal digits"},
      {"[::1]80/c", "only ':' and a port"},
      {"https://a.b/c", "from 1 to 65535"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const auto reference = Reference::parse(row.text);
    REQUIRE(!reference);
    CHECK(reference.error().code == Code::invalid_argument);
    CHECK_MESSAGE(reference.error().message.find(row.reason) != std::string::npos, reference.error().message);
  }
}

TEST_CASE("an error shows neither control characters nor endless text") {
  const auto reference = Reference::parse("a\x1b[31m" + std::string(600, 'b') + "\n");
  REQUIRE(!reference);
  CHECK(reference.error().message.find('\x1b') == std::string::npos);
  CHECK(reference.error().message.find('\n') == std::string::npos);
  CHECK(reference.error().message.size() < 600);
}

/// Names by the grammar, and names that one random edit has damaged or not.
class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  std::string valid() {
    std::string text = one_of({"", "", "localhost/", "quay.io/", "r.example:5000/", "[::1]:80/", "Reg/"});
    // Without a host a first component with a '.' would be taken for one.
    const bool dots = !text.empty();
    const unsigned components = 1 + below(4);
    for (unsigned i = 0; i < components; ++i) text += (i > 0 ? "/" : "") + component(dots || i > 0);
    if (below(2) == 0) text += ":" + characters("aZ9_", 1) + characters("aZ9_.-", below(12));
    if (below(3) == 0) text += "@sha256:" + characters("0123456789abcdef", 64);
    return text;
  }
  std::string mutated() {
    std::string text = valid();
    static constexpr std::string_view kOdd = "aA0/:@._-[]% \x7f\xc3";
    const size_t at = below(static_cast<unsigned>(text.size()));
    switch (below(3)) {
      case 0:
        text[at] = kOdd[below(kOdd.size())];
        break;
      case 1:
        text.insert(at, 1, kOdd[below(kOdd.size())]);
        break;
      default:
        text.erase(at, 1);
    }
    return text;
  }

 private:
  unsigned below(size_t bound) { return static_cast<unsigned>(random_() % bound); }
  std::string one_of(std::initializer_list<const char*> texts) { return texts.begin()[below(texts.size())]; }
  std::string characters(std::string_view from, size_t count) {
    std::string text;
    while (text.size() < count) text += from[below(from.size())];
    return text;
  }
  std::string component(bool dots) {
    std::string text = characters("abz019", 1 + below(6));
    for (unsigned i = below(3); i > 0; --i) {
      text += one_of({dots ? "." : "_", "_", "__", "-", "---"}) + characters("abz019", 1 + below(6));
    }
    return text;
  }

  std::mt19937 random_;
};

TEST_CASE("every name of the grammar is taken, and all its forms give it back") {
  Generator generator(1);
  for (int i = 0; i < 20'000; ++i) {
    const std::string text = generator.valid();
    CAPTURE(text);
    const auto reference = Reference::parse(text);
    REQUIRE(reference);
    REQUIRE(Reference::parse(reference->text()).value() == *reference);
    REQUIRE(Reference::parse(reference->familiar()).value() == *reference);
  }
}

TEST_CASE("a damaged name is refused, or is another name that reads back") {
  Generator generator(2);
  int taken = 0;
  constexpr int kNames = 50'000;
  for (int i = 0; i < kNames; ++i) {
    const std::string text = generator.mutated();
    CAPTURE(text);
    const auto reference = Reference::parse(text);
    if (!reference) {
      REQUIRE(reference.error().code == Code::invalid_argument);
      continue;
    }
    ++taken;
    REQUIRE(reference->repository.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789._-/") ==
            std::string::npos);
    REQUIRE(Reference::parse(reference->text()).value() == *reference);
    REQUIRE(Reference::parse(reference->familiar()).value() == *reference);
  }
  CHECK(taken > kNames / 10);
  CHECK(taken < kNames * 9 / 10);
}

}  // namespace
}  // namespace lambdo::registry
