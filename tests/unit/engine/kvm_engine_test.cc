#include "engine/kvm_engine.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <utility>

#include "base/syscalls.h"
#include "engine/agent_grpc.h"
#include "reactor/scope.h"
#include "reactor/timer.h"

#include "test.h"

namespace lambdo::engine {

using reactor::Reactor;
using reactor::Task;

/// What stands for a TAP: closing `end` waits, for seconds, until `peer` is closed.
struct SlowEnd {
  Fd end;
  Fd peer;
};

static SlowEnd slow_end() {
  const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t len_bytes = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  REQUIRE_EQ(::bind(listener.get(), generic, len_bytes), 0);
  REQUIRE_EQ(::listen(listener.get(), 1), 0);
  REQUIRE_EQ(::getsockname(listener.get(), generic, &len_bytes), 0);
  SlowEnd made{.end = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), .peer = {}};
  REQUIRE_EQ(::connect(made.end.get(), generic, len_bytes), 0);
  made.peer = Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  REQUIRE(made.peer.valid());
  const linger patience{.l_onoff = 1, .l_linger = 5};
  REQUIRE_EQ(::setsockopt(made.end.get(), SOL_SOCKET, SO_LINGER, &patience, sizeof patience), 0);
  const std::array<std::byte, 65536> unread{};
  while (::send(made.end.get(), unread.data(), unread.size(), MSG_DONTWAIT) > 0) continue;
  return made;
}

static constexpr int kTurns = 10;

static Task<> close_later(Reactor& reactor, Fd& peer, int& turns) {
  for (; turns < kTurns; ++turns) co_await reactor::SleepOp::for_ms(reactor, 2);
  peer.reset();
}

static Task<> fail_to_start(Reactor& reactor, KvmEngine& engine, size_t language) {
  SlowEnd tap = slow_end();
  int turns = 0;
  reactor::Scope scope(reactor);
  scope.spawn(close_later(reactor, tap.peer, turns));
  net::AttachedGuest network;
  network.end = std::move(tap.end);
  const auto guest = co_await engine.create_guest(language, std::move(network), {});
  CHECK_EQ(guest.error().code, Code::engine_failed);
  // It was closed by then, and the loop went on meanwhile.
  CHECK_EQ(turns, kTurns);
  co_await scope.join();
}

TEST_CASE("a guest that cannot be started has its TAP closed, and the loop does not wait for that") {
  const auto reactor = Reactor::create().value();
  AgentGrpc agents(*reactor);
  reactor::BlockingPool files(*reactor, 1);
  KvmMaterial material;
  material.languages[0].has_own_init = true;  // and there is nobody for its agent to come to
  material.languages[1];                      // what it is given is no TAP
  KvmEngine engine(*reactor, agents, files, std::move(material), {.boot_timeout_ms = 10'000});
  for (const size_t language : {size_t{0}, size_t{1}}) {
    CAPTURE(language);
    reactor->run(fail_to_start(*reactor, engine, language));
  }
  reactor->run(engine.stop());
}

}  // namespace lambdo::engine
