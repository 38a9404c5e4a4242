#include "loopback.h"

#include <nghttp2/nghttp2.h>

#include "test.h"

// The client's session against the server's, and against bytes that no server of ours sends.
namespace lambdo::rpc {

using namespace std::string_literals;

TEST_CASE("calls of any size are answered, several at a time") {
  Loopback loop;
  std::vector<const Outcome*> outcomes;
  const size_t sizes[] = {0, 5, 70'000, 9 << 20};
  for (const size_t len_bytes : sizes) outcomes.push_back(&loop.start("/echo", std::string(len_bytes, 'x')));
  CHECK(loop.client_was_told);
  loop.run();
  for (size_t i = 0; i < outcomes.size(); ++i) {
    REQUIRE_EQ(outcomes[i]->count, 1);
    REQUIRE_EQ(outcomes[i]->status(), 0);
    CHECK_EQ(outcomes[i]->answer->message.size(), sizes[i]);
  }
  CHECK_EQ(loop.client->open_calls(), 0);
  // However much there is to send, it is taken in bounded pieces.
  CHECK_LT(loop.largest_output, kOutputBytes + kMaxFrameBytes + 9);
  CHECK(!loop.client->finished());
}

TEST_CASE("a status passes with its message, and is an error to those who want a message only") {
  Loopback loop;
  const Outcome& refused = loop.start("/100%", "");
  loop.run();
  REQUIRE_EQ(refused.status(), 12);
  CHECK_EQ(refused.answer->status.message, "no \"/100%\"\n");
  const Result<std::string> message = message_of(*refused.answer);
  REQUIRE(!message);
  CHECK_EQ(message.error().code, Code::unavailable);
  CHECK_EQ(message.error().message, "no \"/100%\"\n");
  CHECK_EQ(message_of(CallAnswer{{StatusCode::internal, ""}, ""}).error().message, "gRPC status 13");
  CHECK_EQ(message_of(CallAnswer{{}, "bytes"}).value(), "bytes");
}

TEST_CASE("a cancelled call ends at the server and is told nobody at the client") {
  Loopback loop;
  const Outcome& cancelled = loop.start("/wait", "");
  const Outcome& other = loop.start("/wait", "");
  loop.run();
  REQUIRE_EQ(loop.handler.waiting.size(), 2);
  loop.client_was_told = false;
  loop.client->cancel(loop.calls[0]);
  loop.client->cancel(loop.calls[0]);
  CHECK(loop.client_was_told);
  loop.run();
  CHECK_EQ(loop.handler.cancelled, std::vector<int32_t>{loop.handler.waiting[0]});
  loop.server->finish(loop.handler.waiting[0], prefixed(""));
  loop.server->finish(loop.handler.waiting[1], prefixed("late"));
  loop.run();
  CHECK_EQ(cancelled.count, 0);
  CHECK_EQ(other.answer.value().message, "late");
}

TEST_CASE("a call that is cancelled before it was sent is none") {
  Loopback loop;
  loop.start("/wait", std::string(1000, 'x'));
  loop.client->cancel(loop.calls[0]);
  loop.run();
  CHECK(loop.handler.waiting.empty());
  CHECK_EQ(loop.client->open_calls(), 0);
  const Outcome& next = loop.start("/echo", "next");
  loop.run();
  CHECK_EQ(next.answer.value().message, "next");
}

TEST_CASE("the end of the connection ends every call, on both sides, and no call starts after it") {
  Loopback loop;
  const Outcome& first = loop.start("/wait", "");
  const Outcome& second = loop.start("/wait", "");
  loop.run();
  loop.client->end({Code::closed, 0, "gone"});
  loop.server->end({Code::closed, 0, "gone"});
  CHECK_EQ(loop.handler.cancelled.size(), 2);
  for (const Outcome* outcome : {&first, &second}) {
    REQUIRE_EQ(outcome->count, 1);
    CHECK_EQ(outcome->answer.error().code, Code::closed);
    CHECK_EQ(outcome->answer.error().message, "gone");
  }
  CHECK_EQ(loop.client->start("/x", prefixed(""), {}).error().code, Code::closed);
}

TEST_CASE("the end of a call may start another and cancel others") {
  Loopback loop;
  Outcome second;
  const Outcome& waiting = loop.start("/wait", "");
  REQUIRE(loop.client->start("/echo", prefixed("first"), [&](const Result<CallAnswer>&) {
    loop.client->cancel(loop.calls[0]);
    (void)loop.client->start("/echo", prefixed("second"), [&](Result<CallAnswer> answer) {
      ++second.count;
      second.answer = std::move(answer);
    });
  }));
  loop.run();
  CHECK_EQ(second.count, 1);
  CHECK_EQ(second.answer.value().message, "second");
  CHECK_EQ(waiting.count, 0);
  CHECK_EQ(loop.handler.cancelled.size(), 1);
}

// The limits, one by one. In each the next call goes on, unless the limit is the connection's.

TEST_CASE("limit: open calls, at a client") {
  Loopback loop({.max_open_calls = 2});
  loop.start("/wait", "");
  loop.start("/wait", "");
  const auto third = loop.client->start("/echo", prefixed(""), {});
  REQUIRE(!third);
  CHECK_EQ(third.error().code, Code::resource_exhausted);
  loop.client->cancel(loop.calls[0]);
  const Outcome& next = loop.start("/echo", "");
  loop.run();
  CHECK_EQ(next.status(), 0);
}

TEST_CASE("limit: open calls, at a server, for which an honest client waits") {
  Loopback loop({}, {.max_open_calls = 2});
  loop.run();
  for (int i = 0; i < 3; ++i) loop.start("/wait", "");
  loop.run();
  REQUIRE_EQ(loop.handler.waiting.size(), 2);
  loop.server->finish(loop.handler.waiting[0], prefixed(""));
  loop.run();
  CHECK_EQ(loop.handler.waiting.size(), 3);
}

TEST_CASE("limit: open calls, at a server, passed by a client of any kind") {
  ServerPeer peer({.max_open_calls = 2});
  peer.send(preface());
  for (uint32_t stream = 1; stream <= 5; stream += 2) {
    peer.send(call_headers(stream, "/wait") + call_message(stream, ""));
  }
  CHECK_EQ(peer.waiting.size(), 2);
  CHECK(peer.reply(5).reset);
  CHECK(!peer.closed);
  // Who has acknowledged the number has no excuse.
  peer.send(frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, ""));
  peer.send(call_headers(7, "/wait"));
  CHECK(peer.closed);
  CHECK(peer.session().violated());
  CHECK_EQ(peer.cancelled.size(), 2);
}

TEST_CASE("limit: calls of a connection") {
  Loopback loop({}, {.max_calls = 2});
  for (int i = 0; i < 2; ++i) {
    const Outcome& outcome = loop.start("/echo", "");
    loop.run();
    CHECK_EQ(outcome.status(), 0);
  }
  loop.start("/echo", "");
  loop.run();
  REQUIRE(!loop.server_received);
  CHECK_EQ(loop.server_received.error().code, Code::resource_exhausted);
  CHECK_EQ(loop.server_received.error().message, "more than 2 calls on one connection");
}

TEST_CASE("limit: bytes of a connection, received by either side") {
  Loopback server({}, {.max_received_bytes = 2000});
  server.start("/echo", std::string(3000, 'x'));
  server.run();
  CHECK_EQ(server.server_received.error().code, Code::resource_exhausted);
  Loopback client({.max_received_bytes = 2000});
  client.start("/echo", std::string(3000, 'x'));
  client.run();
  CHECK_EQ(client.client_received.error().code, Code::resource_exhausted);
}

TEST_CASE("limit: header bytes, at a server") {
  Loopback loop({}, {.max_header_bytes = 400});
  const Outcome& large = loop.start("/" + std::string(400, 'x'), "");
  const Outcome& small = loop.start("/echo", "");
  loop.run();
  CHECK_EQ(large.count, 1);
  CHECK_EQ(large.answer.error().code, Code::agent_protocol);
  CHECK_EQ(small.status(), 0);
  CHECK(loop.handler.cancelled.empty());
}

TEST_CASE("limit: header bytes, at a client") {
  Loopback loop({.max_header_bytes = 400});
  const Outcome& large = loop.start("/" + std::string(400, 'x'), "");
  const Outcome& small = loop.start("/echo", "");
  loop.run();
  CHECK_EQ(large.count, 1);
  CHECK_EQ(large.answer.error().message, "the answer's headers have more than 400 bytes");
  CHECK_EQ(small.status(), 0);
}

TEST_CASE("limit: bytes of a request") {
  Loopback loop({}, {.max_message_bytes = 1000});
  const Outcome& large = loop.start("/echo", std::string(1001, 'x'));
  const Outcome& largest = loop.start("/echo", std::string(1000, 'x'));
  loop.run();
  REQUIRE_EQ(large.status(), 8);
  CHECK_EQ(large.answer->status.message, "a message of 1001 bytes; the maximum is 1000");
  CHECK_EQ(largest.status(), 0);
}

TEST_CASE("limit: bytes of an answer, of which the rest is not waited for") {
  Loopback loop({.max_message_bytes = 1000});
  const Outcome& large = loop.start("/echo", std::string(1 << 20, 'x'));
  const Outcome& largest = loop.start("/echo", std::string(1000, 'x'));
  loop.run();
  CHECK_EQ(large.count, 1);
  REQUIRE(!large.answer);
  CHECK_EQ(large.answer.error().code, Code::agent_protocol);
  CHECK_EQ(large.answer.error().message, "a message of 1048576 bytes; the maximum is 1000");
  CHECK_EQ(largest.status(), 0);
}

TEST_CASE("limit: bytes that wait to be sent, at a client") {
  Loopback loop({.max_queued_bytes = 2000});
  loop.start("/echo", std::string(1500, 'x'));
  const auto second = loop.client->start("/echo", prefixed(std::string(500, 'x')), {});
  REQUIRE(!second);
  CHECK_EQ(second.error().code, Code::resource_exhausted);
  loop.run();
  const Outcome& next = loop.start("/echo", std::string(500, 'x'));
  loop.run();
  CHECK_EQ(next.status(), 0);
}

TEST_CASE("limit: bytes that wait to be sent, at a server") {
  Loopback loop({}, {.max_queued_bytes = 2000});
  const Outcome& large = loop.start("/echo", std::string(1996, 'x'));
  const Outcome& largest = loop.start("/echo", std::string(1995, 'x'));
  loop.run();
  REQUIRE_EQ(large.status(), 8);
  CHECK_EQ(large.answer->status.message, "an answer of 2001 bytes; at most 2000 may wait to be sent");
  CHECK_EQ(largest.status(), 0);
}

TEST_CASE("limit: what is sent ahead, of one stream and of all") {
  Loopback loop({}, {.stream_window_bytes = 1000});
  loop.run();
  const Outcome& outcome = loop.start("/echo", std::string(5000, 'x'));
  const std::string ahead = output_of(*loop.client);
  CHECK_GE(ahead.size(), 1000);
  CHECK_LT(ahead.size(), 1300);
  REQUIRE(loop.server->receive(ahead));
  loop.run();
  CHECK_EQ(outcome.status(), 0);

  Loopback all({}, {.connection_window_bytes = 65'535});
  all.run();
  for (int i = 0; i < 4; ++i) all.start("/echo", std::string(60'000, 'x'));
  CHECK_LT(output_of(*all.client).size(), 67'000);
}

TEST_CASE("a server that refuses early is heard before the request is sent") {
  Loopback loop({}, {.max_message_bytes = 1000, .stream_window_bytes = 1000});
  loop.run();
  const Outcome& large = loop.start("/echo", std::string(1 << 20, 'x'));
  loop.run();
  REQUIRE_EQ(large.count, 1);
  CHECK_EQ(large.status(), 8);
  CHECK_EQ(loop.client->open_calls(), 0);
  const Outcome& next = loop.start("/echo", "next");
  loop.run();
  CHECK_EQ(next.answer.value().message, "next");
}

/// A client with one call that was sent, whose server is bytes by hand.
struct ClientPeer {
  ClientPeer() : outcome(loop.start("/echo", "x")) {
    (void)output_of(*loop.client);
    REQUIRE(loop.client->receive(frame(NGHTTP2_SETTINGS, 0, 0, "") +
                                 frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "")));
  }
  Loopback loop;
  Outcome& outcome;
};

TEST_CASE("an answer that is none fails its call, and no other") {
  const std::string headers =
      frame(NGHTTP2_HEADERS, 4, 1, header_block({{":status", "200"}, {"content-type", "application/grpc"}}));
  const auto trailers = [](const std::string& status) {
    return frame(NGHTTP2_HEADERS, 5, 1, header_block({{"grpc-status", status}}));
  };
  const struct {
    const char* what;
    std::string bytes;
    const char* told;
  } cases[] = {
      {"no status", headers + frame(NGHTTP2_DATA, 1, 1, prefixed("x")),
       "the call ended without a gRPC status"},
      {"another protocol", frame(NGHTTP2_HEADERS, 5, 1, header_block({{":status", "404"}})),
       "the call ended without a gRPC status"},
      {"a reset", frame(NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\7"s),
       "the call was reset (REFUSED_STREAM) without a gRPC status"},
      {"no message", headers + trailers("0"), "the stream ends before its message does"},
      {"half a message", headers + frame(NGHTTP2_DATA, 0, 1, "\0\0\0\0\2x"s) + trailers("0"),
       "the stream ends before its message does"},
      {"two messages", headers + frame(NGHTTP2_DATA, 0, 1, prefixed("x") + prefixed("y")) + trailers("0"),
       "a unary call has one message"},
      {"compressed", headers + frame(NGHTTP2_DATA, 0, 1, "\1\0\0\0\1x"s) + trailers("0"),
       "compressed messages are not understood"},
      {"leaving", frame(NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0"s),
       "the call was reset (REFUSED_STREAM) without a gRPC status"},
  };
  for (const auto& [what, bytes, told] : cases) {
    CAPTURE(what);
    ClientPeer peer;
    REQUIRE(peer.loop.client->receive(bytes));
    REQUIRE_EQ(peer.outcome.count, 1);
    REQUIRE(!peer.outcome.answer);
    CHECK_EQ(peer.outcome.answer.error().code, Code::agent_protocol);
    CHECK_EQ(peer.outcome.answer.error().message, told);
    CHECK_EQ(peer.loop.client->open_calls(), 0);
  }
}

TEST_CASE("a status is the peer's word: any number, and before any message") {
  for (const auto& [text, code] : {std::pair{"7", 7}, {"99999", 99}, {"many", 2}, {"", 2}}) {
    CAPTURE(text);
    ClientPeer peer;
    REQUIRE(peer.loop.client->receive(
        frame(NGHTTP2_HEADERS, 5, 1, header_block({{":status", "200"}, {"grpc-status", text}}))));
    CHECK_EQ(peer.outcome.status(), code);
  }
}

TEST_CASE("a peer that leaves takes no more calls") {
  ClientPeer peer;
  REQUIRE(peer.loop.client->receive(frame(NGHTTP2_GOAWAY, 0, 0, "\0\0\0\1\0\0\0\0"s)));
  CHECK_EQ(peer.outcome.count, 0);
  const Outcome& next = peer.loop.start("/echo", "");
  (void)output_of(*peer.loop.client);
  REQUIRE_EQ(next.count, 1);
  CHECK_EQ(next.answer.error().code, Code::closed);
  REQUIRE(peer.loop.client->receive(frame(NGHTTP2_HEADERS, 4, 1, header_block({{":status", "200"}})) +
                                    frame(NGHTTP2_DATA, 0, 1, prefixed("x")) +
                                    frame(NGHTTP2_HEADERS, 5, 1, header_block({{"grpc-status", "0"}}))));
  CHECK_EQ(peer.outcome.answer.value().message, "x");
  (void)output_of(*peer.loop.client);
  CHECK(peer.loop.client->finished());
}

TEST_CASE("bytes that are no HTTP/2 are an error of the connection at a client too") {
  for (const std::string& bytes :
       {"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"s, std::string(64, '\0'),
        "\xff\xff\xff\0\0\0\0\0\1"s, frame(NGHTTP2_DATA, 0, 7, "x"),
        frame(NGHTTP2_PUSH_PROMISE, 4, 1, "\0\0\0\2"s + header_block({{":path", "/"}}))}) {
    ClientPeer peer;
    const Result<> received = peer.loop.client->receive(bytes);
    (void)output_of(*peer.loop.client);
    CHECK((!received || peer.loop.client->finished()));
    if (received) CHECK(peer.loop.client->violated());
    peer.loop.client->end({Code::closed, 0, "ended"});
    CHECK_EQ(peer.outcome.count, 1);
    CHECK(!peer.outcome.answer);
  }
}

}  // namespace lambdo::rpc
