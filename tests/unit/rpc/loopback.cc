#include "loopback.h"

#include <algorithm>

#include "test.h"

namespace lambdo::rpc {

std::string output_of(Http2Session& session) {
  std::string output;
  for (std::string piece(1, '\0'); !piece.empty(); output += piece) {
    piece.clear();
    REQUIRE(session.take_output(piece));
  }
  return output;
}

Loopback::Loopback(const SessionLimits& client_limits, const SessionLimits& server_limits)
    : server(ServerSession::create(server_limits, handler).value()),
      client(ClientSession::create(client_limits, [this] { client_was_told = true; }).value()) {}

/// Gives `to` one output of `from`; false where there is none.
static bool move_bytes(Http2Session& from, Http2Session& to, Result<>& received, size_t& largest) {
  std::string output;
  REQUIRE(from.take_output(output));
  largest = std::max(largest, output.size());
  if (output.empty() || !received) return false;
  received = to.receive(output);
  return true;
}

void Loopback::run() {
  for (bool moved = true; moved;) {
    moved = move_bytes(*client, *server, server_received, largest_output);
    moved |= move_bytes(*server, *client, client_received, largest_output);
  }
}

Outcome& Loopback::start(const std::string& method, std::string_view message) {
  Outcome& outcome = outcomes.emplace_back();
  calls.push_back(client
                      ->start(method, prefixed(message),
                              [&outcome](Result<CallAnswer> answer) {
                                ++outcome.count;
                                outcome.answer = std::move(answer);
                              })
                      .value());
  return outcome;
}

}  // namespace lambdo::rpc
