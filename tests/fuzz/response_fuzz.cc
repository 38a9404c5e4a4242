// A hostile server's bytes against the parser of responses. The first byte chooses the kind of request, the
// second how the rest is cut; what comes out must not depend on the cutting.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/check.h"
#include "http/client/response_parser.h"

namespace {

using lambdo::http::ResponseParser;

constexpr size_t kMaxHeadBytes = 512;

struct Outcome {
  bool failed = false;
  bool head_complete = false;
  bool complete = false;
  int status = 0;
  std::string body;

  bool operator==(const Outcome&) const = default;
};

Outcome parse(ResponseParser::Body kind, std::span<const uint8_t> bytes, size_t piece_bytes) {
  ResponseParser parser(kind, kMaxHeadBytes);
  Outcome outcome;
  while (!bytes.empty() && !outcome.failed && !parser.complete()) {
    const auto piece = bytes.first(std::min(piece_bytes, bytes.size()));
    bytes = bytes.subspan(piece.size());
    // Memory of its own for each piece, so that the sanitizer sees what is read or moved past its end.
    std::vector<std::byte> buffer(piece.size());
    std::ranges::copy(std::as_bytes(piece), buffer.begin());
    const auto count = parser.feed(buffer);
    outcome.failed = !count;
    if (!count) break;
    CHECK(*count <= buffer.size());
    outcome.body.append(reinterpret_cast<const char*>(buffer.data()), *count);
  }
  if (!outcome.failed && !parser.complete()) outcome.failed = !parser.finish();
  CHECK(outcome.failed || parser.complete());
  CHECK(!parser.complete() || parser.head_complete());
  outcome.head_complete = parser.head_complete();
  outcome.complete = parser.complete();
  if (parser.complete()) outcome.status = parser.status();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto kind = data[0] % 2 == 0 ? ResponseParser::Body::by_head : ResponseParser::Body::none;
  const std::span<const uint8_t> bytes(data + 2, size - 2);
  const Outcome whole = parse(kind, bytes, SIZE_MAX);
  const Outcome cut = parse(kind, bytes, 1 + data[1] % 32);
  // The caps on framing count by pieces, so only what both accept must agree.
  if (!whole.failed && !cut.failed) CHECK(whole == cut);
  return 0;
}
