// A hostile peer's bytes against both sides of gRPC. The first byte chooses the side and the second how the
// rest is cut. Whatever comes: the output stays small, and every call ends once.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "rpc/client_session.h"
#include "rpc/server_session.h"

namespace {

using namespace lambdo::rpc;

constexpr SessionLimits kLimits = {.max_open_calls = 4,
                                   .max_calls = 8,
                                   .max_header_bytes = 2048,
                                   .max_message_bytes = 4096,
                                   .max_queued_bytes = 8192,
                                   .stream_window_bytes = 4096,
                                   .connection_window_bytes = 65'535};

/// Answers every other call, and leaves the rest waiting.
class Handler final : public CallHandler {
 public:
  void on_call(ServerSession& session, int32_t call, std::string_view, std::string request) override {
    CHECK(request.size() <= kLimits.max_message_bytes);
    ++open_;
    if (call % 4 == 1) return;
    --open_;
    session.finish(call, std::string(5, '\0'));
  }
  void on_cancelled(ServerSession&, int32_t) override { --open_; }

  int open_ = 0;
};

/// Gives the session the bytes in pieces, until it ends.
void feed(Http2Session& session, std::string_view bytes, size_t piece_bytes) {
  std::string output;
  while (!bytes.empty() && !session.finished()) {
    // Memory of its own for each piece, so that the sanitizer sees what is read past its end.
    const std::string piece(bytes.substr(0, piece_bytes));
    bytes.remove_prefix(piece.size());
    const bool received = session.receive(piece).has_value();
    output.clear();
    if (!session.take_output(output) || !received) return;
    CHECK(output.size() < kOutputBytes + kMaxFrameBytes + 9);
  }
}

void serve(std::string_view bytes, size_t piece_bytes) {
  Handler handler;
  const auto session = ServerSession::create(kLimits, handler);
  CHECK(session.has_value());
  feed(**session, bytes, piece_bytes);
  CHECK(handler.open_ >= 0 && handler.open_ <= static_cast<int>(kLimits.max_open_calls));
  (*session)->end({});
  CHECK(handler.open_ == 0);
}

void call(std::string_view bytes, size_t piece_bytes) {
  const auto session = ClientSession::create(kLimits);
  CHECK(session.has_value());
  int ended = 0;
  for (int i = 0; i < 2; ++i) {
    const auto done = [&ended](const lambdo::Result<CallAnswer>& answer) {
      ++ended;
      CHECK(!answer || answer->message.size() <= kLimits.max_message_bytes);
    };
    CHECK((*session)->start("/echo", std::string(5, '\0'), done).has_value());
  }
  std::string output;
  CHECK((*session)->take_output(output).has_value());
  feed(**session, bytes, piece_bytes);
  (*session)->end({});
  CHECK(ended == 2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t piece_bytes = data[1] == 0 ? SIZE_MAX : data[1];
  std::string bytes(reinterpret_cast<const char*>(data + 2), size - 2);
  // Few inputs would get past the preface by themselves.
  if (data[0] % 3 == 0) bytes.insert(0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  if (data[0] % 3 < 2) {
    serve(bytes, piece_bytes);
  } else {
    call(bytes, piece_bytes);
  }
  return 0;
}
