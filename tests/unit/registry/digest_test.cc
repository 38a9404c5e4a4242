#include "registry/digest.h"

#include "test.h"

namespace lambdo::registry {
namespace {

// FIPS 180-2, B.1: the digest of "abc".
constexpr std::string_view kAbc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST_CASE("the digest of content is what the standard says, and reads back") {
  CHECK(Digest::of("abc").text() == kAbc);
  CHECK(Digest::parse(kAbc).value() == Digest::of("abc"));
  CHECK(Digest::of("abc").short_hex() == "ba7816bf8f01");
  CHECK(Digest::of("abd") != Digest::of("abc"));
}

TEST_CASE("what is no digest is refused with the reason") {
  const struct {
    std::string text;
    std::string_view reason;
  } rows[] = {
      {"", "sha256: and 64 digits"},
      {"abc", "sha256: and 64 digits"},
      {"sha512:" + std::string(128, '0'), "'sha512'"},
      {"sha256:", "not 0"},
      {"sha256:" + std::string(63, '0'), "not 63"},
      {"sha256:" + std::string(65, '0'), "not 65"},
      {"sha256:" + std::string(63, '0') + "A", "a-f"},
      {"sha256:" + std::string(63, '0') + "/", "a-f"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const auto digest = Digest::parse(row.text);
    REQUIRE(!digest);
    CHECK(digest.error().code == Code::invalid_argument);
    CHECK(digest.error().message.find(row.reason) != std::string::npos);
  }
}

}  // namespace
}  // namespace lambdo::registry
