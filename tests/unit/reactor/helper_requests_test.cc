#include "reactor/helper/requests.h"

#include <sys/socket.h>

#include <array>

#include "base/syscalls.h"

#include "test.h"

namespace lambdo::helper {

namespace {

constexpr uint8_t kAsk = kFirstOwnKind;

Protocol protocol() {
  static constexpr std::array<Shape, 3> kShapes = {{
      {1, 1, 0, 0},  // success
      kFailureShape,
      {0, 0, 0, 0},  // ask
  }};
  return kShapes;
}

}  // namespace

TEST_CASE("a request is answered under its number, with results, descriptors or the failure") {
  auto [server, helper_end] = sys::socketpair(SOCK_SEQPACKET).value();
  Requests requests(helper_end.get(), protocol(), "test");
  REQUIRE(send_message(server.get(), protocol(), {.kind = kAsk, .request = 7}));
  const auto received = requests.receive();
  REQUIRE(received);
  CHECK_EQ(received->message.kind, kAsk);
  requests.answer(received->message.request, Message{.kind = kSuccess, .numbers = {3}}, {helper_end.get()});
  const auto success = receive_message(server.get(), protocol()).value();
  REQUIRE(success);
  CHECK(success->message == Message{.kind = kSuccess, .request = 7, .numbers = {3}});
  CHECK(success->attached[0].valid());
  CHECK_FALSE(success->attached[1].valid());
  requests.answer(8, fail(Code::not_found, "nothing"));
  const auto failure = receive_message(server.get(), protocol()).value();
  REQUIRE(failure);
  CHECK_EQ(failure->message.request, 8);
  CHECK_EQ(decode_failure(failure->message).code, Code::not_found);
}

TEST_CASE("what is no request is passed over, and the server's end is told") {
  auto [server, helper_end] = sys::socketpair(SOCK_SEQPACKET).value();
  Requests requests(helper_end.get(), protocol(), "test");
  REQUIRE_EQ(::send(server.get(), "?", 1, 0), 1);
  CHECK_FALSE(requests.receive());
  CHECK_FALSE(requests.server_is_gone());
  server.reset();
  // Answers that nobody reads do not end the process.
  requests.answer(1, fail(Code::not_found, "nothing"));
  CHECK_FALSE(requests.receive());
  CHECK(requests.server_is_gone());
}

}  // namespace lambdo::helper
