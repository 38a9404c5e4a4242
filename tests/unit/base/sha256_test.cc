#include "base/sha256.h"

#include <string>
#include <string_view>

#include "test.h"

namespace lambdo {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST_CASE("pieces give the same value as the whole, and the next content starts anew") {
  const std::string content(100'000, 'a');
  Sha256 sha256;
  for (size_t at = 0; at < content.size(); at += 777)
    sha256.update(bytes(content).subspan(at).first(std::min<size_t>(777, content.size() - at)));
  CHECK(sha256.finish() == Sha256::of(bytes(content)));
  sha256.update(bytes("abc"));
  CHECK(sha256.finish() == Sha256::of(bytes("abc")));
  CHECK(Sha256::of(bytes("")) != Sha256::of(bytes("abc")));
}

}  // namespace
}  // namespace lambdo
