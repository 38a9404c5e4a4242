#include "reactor/helper/channel.h"

#include "harness.h"
#include "reactor/helper/socket.h"

#include "test.h"

namespace lambdo::reactor {

namespace {

constexpr uint8_t kReady = helper::kFirstOwnKind;
constexpr uint8_t kAsk = kReady + 1;

helper::Protocol protocol() {
  static constexpr std::array<helper::Shape, 4> kShapes = {{
      {0, 0, 0, 0},  // success
      helper::kFailureShape,
      {0, 0, 0, 0},  // ready
      {0, 0, 0, 0},  // ask
  }};
  return kShapes;
}

/// Says that it is ready, answers `answers` requests and then none, and ends with its socket.
helper::Process start(int answers) {
  return helper::start_process("test", protocol(), kReady,
                               [answers](const Fd& socket) {
                                 (void)helper::send_message(socket.get(), protocol(), {.kind = kReady});
                                 for (int i = 0;; ++i) {
                                   const auto received = helper::receive_message(socket.get(), protocol());
                                   if (!received || !*received) return 0;
                                   if (i >= answers) continue;
                                   (void)helper::send_message(socket.get(), protocol(),
                                                              {.request = (*received)->message.request});
                                 }
                               })
      .value();
}

struct Losses final : helper::Channel::Observer {
  void received(helper::Message /*message*/) override {}
  void lost(const Error& /*error*/) override { ++count; }
  int count = 0;
};

Task<> ask_until_it_is_killed(helper::Channel& channel, const Losses& losses) {
  CHECK(co_await channel.call({.kind = kAsk}));
  CHECK(channel.alive());
  const auto unanswered = co_await channel.call({.kind = kAsk});
  CHECK_EQ(unanswered.error().code, Code::engine_failed);
  CHECK_FALSE(channel.alive());
  CHECK_EQ(losses.count, 1);
  CHECK_EQ((co_await channel.call({.kind = kAsk})).error().code, Code::engine_failed);
  co_await channel.stop(nullptr);
}

Task<> ask(helper::Channel& channel, int times) {
  for (int i = 0; i < times; ++i) CHECK(co_await channel.call({.kind = kAsk}));
  co_await channel.stop(nullptr);
}

}  // namespace

TEST_CASE("a helper process that does not answer in time is killed, and all that it was asked fails") {
  auto reactor = make_reactor();
  Losses losses;
  helper::Channel channel(*reactor, start(1), protocol(), "test", losses, 200);
  reactor->run(ask_until_it_is_killed(channel, losses));
  CHECK_EQ(::waitpid(channel.pid(), nullptr, WNOHANG), -1);
}

TEST_CASE("a helper process without a limit is waited for") {
  auto reactor = make_reactor();
  Losses losses;
  helper::Channel channel(*reactor, start(3), protocol(), "test", losses);
  reactor->run(ask(channel, 3));
  CHECK_EQ(losses.count, 0);
}

}  // namespace lambdo::reactor
