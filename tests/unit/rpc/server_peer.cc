#include "server_peer.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "test.h"

namespace lambdo::rpc {

std::string frame(int type, int flags, uint32_t stream, std::string_view payload) {
  std::string text;
  for (int shift = 16; shift >= 0; shift -= 8) text += static_cast<char>(payload.size() >> shift);
  text += {static_cast<char>(type), static_cast<char>(flags)};
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(stream >> shift);
  return text.append(payload);
}

std::string header_block(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string block;
  for (const auto& [name, value] : fields) {
    block += {'\0', static_cast<char>(name.size())};
    block += name;
    block += static_cast<char>(value.size());
    block += value;
  }
  return block;
}

std::string preface() {
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(NGHTTP2_SETTINGS, 0, 0, "");
}

std::string call_headers(uint32_t stream, const std::string& method, bool ends) {
  const std::string block = header_block({{":method", "POST"},
                                          {":scheme", "http"},
                                          {":path", method},
                                          {":authority", "agent"},
                                          {"te", "trailers"},
                                          {"content-type", "application/grpc"}});
  return frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | (ends ? NGHTTP2_FLAG_END_STREAM : 0), stream,
               block);
}

std::string prefixed(std::string_view message) {
  std::string text(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(message.size() >> shift);
  return text.append(message);
}

std::string call_message(uint32_t stream, std::string_view message) {
  return frame(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, stream, prefixed(message));
}

ServerPeer::ServerPeer(const SessionLimits& limits)
    : session_(ServerSession::create(limits, *this, [this] { take_output(); }).value()) {
  take_output();
}

ServerPeer::~ServerPeer() = default;

void ServerPeer::close(const Error& error) {
  closed = true;
  session_->end(error);
}

void ServerPeer::take_output() {
  for (std::string piece(1, '\0'); !piece.empty();) {
    piece.clear();
    REQUIRE(session_->take_output(piece));
    output_ += piece;
  }
}

void ServerPeer::send(std::string_view bytes, size_t piece_bytes) {
  while (!bytes.empty() && !closed) {
    // Memory of its own, so that the sanitizer sees what is read past its end.
    const std::string piece(bytes.substr(0, piece_bytes));
    bytes.remove_prefix(piece.size());
    received = session_->receive(piece);
    if (!received) return close(received.error());
    take_output();
    if (session_->finished()) return close({Code::closed, 0, "the connection came to its end"});
  }
}

std::vector<ServerPeer::Frame> ServerPeer::frames() {
  std::vector<Frame> frames;
  const auto byte = [&](size_t at) { return static_cast<unsigned char>(output_[at]); };
  for (size_t at = 0; at + 9 <= output_.size();) {
    const size_t len_bytes = byte(at) << 16 | byte(at + 1) << 8 | byte(at + 2);
    const uint32_t stream =
        static_cast<uint32_t>(byte(at + 5)) << 24 | byte(at + 6) << 16 | byte(at + 7) << 8 | byte(at + 8);
    REQUIRE_LE(at + 9 + len_bytes, output_.size());
    frames.push_back({byte(at + 3), byte(at + 4), stream, output_.substr(at + 9, len_bytes)});
    at += 9 + len_bytes;
  }
  return frames;
}

bool ServerPeer::sent_control(int type, int flags) {
  for (const Frame& frame : frames()) {
    if (frame.stream == 0 && frame.type == type && frame.flags == flags) return true;
  }
  return false;
}

Reply ServerPeer::reply(uint32_t stream) {
  Reply reply;
  nghttp2_hd_inflater* inflater = nullptr;
  REQUIRE_EQ(::nghttp2_hd_inflate_new(&inflater), 0);
  for (const Frame& frame : frames()) {
    // Every block, because they share the table.
    if (frame.type == NGHTTP2_HEADERS) {
      const auto* in = reinterpret_cast<const uint8_t*>(frame.payload.data());
      size_t left = frame.payload.size();
      for (int flags = 0; (flags & NGHTTP2_HD_INFLATE_FINAL) == 0;) {
        nghttp2_nv field;
        const ssize_t used = ::nghttp2_hd_inflate_hd2(inflater, &field, &flags, in, left, 1);
        REQUIRE_GE(used, 0);
        in += used;
        left -= static_cast<size_t>(used);
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 || frame.stream != stream) continue;
        reply.headers.append(reinterpret_cast<char*>(field.name), field.namelen).append(": ");
        reply.headers.append(reinterpret_cast<char*>(field.value), field.valuelen).append("\n");
      }
      ::nghttp2_hd_inflate_end_headers(inflater);
    }
    if (frame.stream != stream) continue;
    if (frame.type == NGHTTP2_DATA) reply.data += frame.payload;
    if (frame.type == NGHTTP2_RST_STREAM) reply.reset = true;
    if (frame.type <= NGHTTP2_HEADERS) reply.ended |= (frame.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  }
  ::nghttp2_hd_inflate_del(inflater);
  return reply;
}

void EchoHandler::on_call(ServerSession& session, int32_t call, std::string_view method,
                          std::string request) {
  if (method == "/wait") return waiting.push_back(call);
  if (method == "/echo") return session.finish(call, prefixed(request));
  session.finish(call, {StatusCode::unimplemented, "no \"" + std::string(method) + "\"\n"});
}

void EchoHandler::on_cancelled(ServerSession&, int32_t call) {
  cancelled.push_back(call);
}

}  // namespace lambdo::rpc
