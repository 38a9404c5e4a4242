#include "rpc/server_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "server_peer.h"

#include "test.h"

namespace lambdo::rpc {

using namespace std::string_literals;

static constexpr char kOk[] = ":status: 200\ncontent-type: application/grpc\ngrpc-status: 0\n";

TEST_CASE("a call is answered with headers, message and trailers, however its bytes arrive") {
  const std::string call = call_headers(1, "/echo") + call_message(1, "hello");
  for (const size_t piece_bytes : {1, 2, 3, 7, 64, 100'000}) {
    CAPTURE(piece_bytes);
    ServerPeer peer;
    peer.send(preface() + call, piece_bytes);
    const Reply reply = peer.reply(1);
    CHECK_EQ(reply.headers, kOk);
    CHECK_EQ(reply.data, "\0\0\0\0\5hello"s);
    CHECK(reply.ended);
    CHECK(!reply.reset);
  }
}

TEST_CASE("a call that is cut in two at any byte is still one call") {
  const std::string call = preface() + call_headers(1, "/echo") + call_message(1, "hello");
  for (size_t cut = 1; cut < call.size(); ++cut) {
    ServerPeer peer;
    peer.send(call.substr(0, cut));
    peer.send(call.substr(cut));
    REQUIRE_EQ(peer.reply(1).data, "\0\0\0\0\5hello"s);
  }
}

TEST_CASE("a message may be spread over many DATA frames, and be empty") {
  ServerPeer peer;
  peer.send(preface() + call_headers(1, "/echo"));
  for (const char byte : "\0\0\0\0\3abc"s) peer.send(frame(NGHTTP2_DATA, 0, 1, {&byte, 1}));
  peer.send(frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, ""));
  CHECK_EQ(peer.reply(1).data, "\0\0\0\0\3abc"s);
  peer.send(call_headers(3, "/echo") + call_message(3, ""));
  CHECK_EQ(peer.reply(3).data, "\0\0\0\0\0"s);
  CHECK(peer.reply(3).ended);
}

TEST_CASE("a large answer is sent as the client's window allows") {
  ServerPeer peer;
  const std::string large(60'000, 'x');
  peer.send(preface());
  for (uint32_t stream = 1; stream <= 5; stream += 2) {
    peer.send(call_headers(stream, "/echo"));
    std::string message = "\0\0\0\xea\x60"s + large;
    for (size_t at = 0; at < message.size(); at += 10'000) {
      const bool last = at + 10'000 >= message.size();
      peer.send(frame(NGHTTP2_DATA, last ? NGHTTP2_FLAG_END_STREAM : 0, stream, message.substr(at, 10'000)));
    }
  }
  // The connection's window is 65,535 bytes until the client widens it (RFC 9113, 6.9.2).
  CHECK(peer.reply(1).ended);
  CHECK(!peer.reply(3).ended);
  peer.send(frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\2\0\0"s));
  CHECK_EQ(peer.reply(3).data.size(), 60'005);
  CHECK(peer.reply(5).ended);
}

TEST_CASE("what is no gRPC call of ours is refused and harms no other") {
  const struct {
    const char* what;
    std::string bytes;
    const char* told;
  } cases[] = {
      {"unknown method", call_headers(1, "/x.Y/Z") + call_message(1, ""),
       "grpc-status: 12\ngrpc-message: no \"/x.Y/Z\"%0A\n"},
      {"compressed",
       call_headers(1, "/echo") + frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "\1\0\0\0\1x"s),
       "grpc-status: 12\n"},
      {"too large", call_headers(1, "/echo") + frame(NGHTTP2_DATA, 0, 1, "\0\4\0\0\1x"s), "grpc-status: 8\n"},
      {"two messages",
       call_headers(1, "/echo") + frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "\0\0\0\0\1x\0"s),
       "grpc-status: 12\n"},
      {"ends early",
       call_headers(1, "/echo") + frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "\0\0\0\0\2x"s),
       "grpc-status: 13\n"},
      {"no message", call_headers(1, "/echo", true), "grpc-status: 13\n"},
      {"not gRPC",
       frame(
           NGHTTP2_HEADERS, 5, 1,
           header_block({{":method", "POST"}, {":scheme", "http"}, {":path", "/echo"}, {":authority", "a"}})),
       ":status: 415\n"},
      {"not POST",
       frame(
           NGHTTP2_HEADERS, 5, 1,
           header_block({{":method", "GET"}, {":scheme", "http"}, {":path", "/echo"}, {":authority", "a"}})),
       ":status: 405\n"},
  };
  for (const auto& [what, bytes, told] : cases) {
    CAPTURE(what);
    ServerPeer peer;
    peer.send(preface() + bytes);
    const Reply reply = peer.reply(1);
    CAPTURE(reply.headers);
    CHECK_NE(reply.headers.find(told), std::string::npos);
    CHECK(reply.ended);
    peer.send(call_headers(3, "/echo") + call_message(3, "ok"));
    CHECK_EQ(peer.reply(3).headers, kOk);
    CHECK(!peer.closed);
  }
}

TEST_CASE("calls are answered while another waits, and in any order") {
  ServerPeer peer;
  peer.send(preface() + call_headers(1, "/wait") + call_message(1, "") + call_headers(3, "/wait") +
            call_message(3, ""));
  peer.send(call_headers(5, "/echo") + call_message(5, "now"));
  CHECK(peer.reply(5).ended);
  CHECK(!peer.reply(1).ended);
  REQUIRE_EQ(peer.waiting, std::vector<int32_t>{1, 3});
  peer.session().finish(3, "\0\0\0\0\0"s);
  peer.session().finish(1, Status{StatusCode::unavailable, "gone"});
  peer.session().finish(1, "\0\0\0\0\0"s);
  CHECK_EQ(peer.reply(3).headers, kOk);
  CHECK_NE(peer.reply(1).headers.find("grpc-status: 14\ngrpc-message: gone\n"), std::string::npos);
  CHECK(peer.cancelled.empty());
}

TEST_CASE("a call is cancelled once: by the client, with the connection, or with the server") {
  ServerPeer peer;
  peer.send(preface() + call_headers(1, "/wait") + call_message(1, ""));
  SUBCASE("RST_STREAM") {
    peer.send(frame(NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\x8"s));
    CHECK(!peer.closed);
    peer.session().finish(1, "\0\0\0\0\0"s);
    peer.send(call_headers(3, "/echo") + call_message(3, ""));
    CHECK(peer.reply(3).ended);
    CHECK(!peer.reply(1).ended);
  }
  SUBCASE("a protocol error") {
    peer.send(frame(NGHTTP2_SETTINGS, 0, 1, ""));
    CHECK(peer.closed);
    CHECK(peer.sent_control(NGHTTP2_GOAWAY, 0));
  }
  CHECK_EQ(peer.cancelled, std::vector<int32_t>{1});
}

TEST_CASE("PING and SETTINGS are acknowledged") {
  ServerPeer peer;
  peer.send(preface() + frame(NGHTTP2_PING, 0, 0, "12345678"));
  CHECK(peer.sent_control(NGHTTP2_PING, NGHTTP2_FLAG_ACK));
  CHECK(peer.sent_control(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK));
}

TEST_CASE("bytes that are no HTTP/2 end the connection") {
  const std::string valid = preface() + call_headers(1, "/wait") + call_message(1, "");
  const struct {
    const char* what;
    std::string bytes;
  } cases[] = {{"another protocol", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
               {"zeros", std::string(64, '\0')},
               {"a frame too large", valid + "\xff\xff\xff\0\0\0\0\0\1"s + std::string(40'000, 'x')},
               {"HPACK of nothing", valid + frame(NGHTTP2_HEADERS, 4, 3, "\xff\xff\xff\xff\xff\xff\xff")},
               {"CONTINUATION alone", valid + frame(NGHTTP2_CONTINUATION, 4, 3, "x")},
               {"an even stream", valid + call_headers(2, "/echo")},
               {"a window of nothing", valid + frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\0"s)}};
  for (const auto& [what, bytes] : cases) {
    CAPTURE(what);
    ServerPeer peer;
    peer.send(bytes);
    CHECK(peer.closed);
    CHECK_EQ(peer.cancelled.size(), peer.waiting.size());
  }
}

TEST_CASE("every single byte of a call may be another one: the server goes on or closes") {
  const std::string valid = preface() + call_headers(1, "/echo") + call_message(1, "hello");
  for (size_t at = 0; at < valid.size(); ++at) {
    std::string bytes = valid;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
    ServerPeer peer;
    peer.send(bytes);
    CHECK((peer.closed || peer.sent_control(NGHTTP2_SETTINGS, 0)));
  }
}

}  // namespace lambdo::rpc
