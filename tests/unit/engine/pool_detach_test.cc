#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "base/mapping.h"
#include "engine/agent_grpc.h"
#include "engine/warm_pool.h"
#include "net/guest_network.h"
#include "net/helper_protocol.h"
#include "reactor/helper/socket.h"
#include "reactor/timer.h"
#include "scripted_engine.h"

#include "test.h"

// A pool whose network helper cannot take guests off the network at once, or not at all.
namespace lambdo::engine {

using Guests = ScriptedEngine::Guests;
using net::HelperKind;
using reactor::Task;

/// What the helper does, and has done. It lies in memory that both processes share.
struct HelperScript {
  std::atomic<int> failures{0};   ///< so many requests to detach fail
  std::atomic<bool> dies{false};  ///< in place of an answer to the first of them
  std::atomic<int> attached{0};
  std::atomic<int> detaches{0};  ///< asked for
};

static helper::Message attach(HelperScript& script) {
  net::AttachedGuest guest;
  guest.port = "l123456t" + std::to_string(++script.attached);
  return net::encode_guest(guest);
}

static helper::Message detach(HelperScript& script) {
  ++script.detaches;
  if (script.dies) ::_exit(1);
  if (script.failures > 0) {
    --script.failures;
    return helper::encode_failure({Code::internal, EBUSY, "as the script says"});
  }
  --script.attached;
  return {.kind = HelperKind::success};
}

static int scripted_helper(const Fd& socket, HelperScript& script) {
  const helper::Protocol protocol = net::helper_protocol();
  const Fd end(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!helper::send_message(socket.get(), protocol, {.kind = HelperKind::ready})) return 1;
  while (true) {
    const auto received = helper::receive_message(socket.get(), protocol);
    if (!received || !*received) return 0;
    const helper::Message& request = (*received)->message;
    const bool is_attach = request.kind == HelperKind::attach;
    helper::Message answer = is_attach                            ? attach(script)
                             : request.kind == HelperKind::detach ? detach(script)
                                                                  : net::encode_counters({.sent_packets = 1});
    answer.request = request.request;
    const auto sent = is_attach ? helper::send_message(socket.get(), protocol, answer, {end.get()})
                                : helper::send_message(socket.get(), protocol, answer);
    if (!sent) return 1;
  }
}

/// A pool over a scripted engine and a scripted network.
struct ScriptedPool {
  ScriptedPool()
      : network(*reactor, std::move(process), {}),
        agents(*reactor),
        slots(*reactor, 2),
        pool(*reactor, engine, agents, slots, &network, {0, "scripted", 0, 20'000, net::Policy{}}) {}

  Mapping memory =
      Mapping::create(sizeof(HelperScript), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS).value();
  HelperScript& script = *new (memory.bytes().data()) HelperScript;
  helper::Process process =
      helper::start_process("scripted helper", net::helper_protocol(), HelperKind::ready, [this](Fd socket) {
        return scripted_helper(socket, script);
      }).value();
  std::unique_ptr<reactor::Reactor> reactor = reactor::Reactor::create().value();
  net::GuestNetwork network;
  ScriptedEngine engine{{Guests::answer}};
  AgentGrpc agents;
  StartSlots slots;
  WarmPool pool;
};

struct Row {
  int failures;
  bool dies;
  int attempts;
  int left;  ///< guests that stay attached
};

static constexpr Row kRows[] = {
    {0, false, 1, 0}, {1, false, 2, 0},  {2, false, 3, 0},
    {3, false, 3, 1}, {99, false, 3, 1}, {0, true, 1, 1},
};

static Task<> use_once(ScriptedPool& made, Guests guests) {
  made.engine.script[0] = guests;
  auto guest = co_await made.pool.acquire({});
  CHECK_EQ(guest.has_value(), guests == Guests::answer);
  if (guest) made.pool.dispose(std::move(*guest));
}

/// One guest that cannot be detached as it should, then one that can where there still is a network.
static Task<> detach_badly(ScriptedPool& made, const Row& row) {
  made.script.failures = row.failures;
  made.script.dies = row.dies;
  const int64_t start_ns = made.reactor->now_ns();
  co_await use_once(made, Guests::answer);
  for (int i = 0; i < 1000 && made.script.detaches < row.attempts; ++i) {
    co_await reactor::SleepOp::for_ms(*made.reactor, 5);
  }
  // They are apart: whatever is in the way has time to go.
  CHECK_GE(made.reactor->now_ns() - start_ns, (row.attempts - 1) * 100'000'000);
  co_await reactor::SleepOp::for_ms(*made.reactor, 250);
  CHECK_EQ(made.script.detaches, row.attempts);
  CHECK_EQ(made.script.attached, row.left);
  CHECK_EQ(made.pool.traffic_total().sent_packets, 1U);
  CHECK_EQ(made.network.alive(), !row.dies);
  if (!row.dies) {
    made.script.failures = 0;
    co_await use_once(made, Guests::answer);
  }
  co_await made.pool.stop();
  CHECK_EQ(made.script.attached, row.left);
  CHECK_EQ(made.engine.alive[0], 0U);
  CHECK_EQ(made.slots.free, 3U);
  co_await made.network.stop();
}

TEST_CASE("a guest that cannot be taken off the network is tried three times, and the pool goes on") {
  for (const Row& row : kRows) {
    CAPTURE(row.failures);
    CAPTURE(row.dies);
    ScriptedPool made;
    made.reactor->run(detach_badly(made, row));
  }
}

static Task<> end_early(ScriptedPool& made, Guests guests) {
  made.script.failures = 2;
  co_await use_once(made, guests);
  // Who waits for a guest that cannot start is told when nothing of it is left.
  if (guests == Guests::fail) CHECK_EQ(made.script.detaches, 3);
  co_await made.pool.stop();
  CHECK_EQ(made.script.detaches, 3);
  CHECK_EQ(made.script.attached, 0);
  co_await made.network.stop();
}

TEST_CASE("a guest that could not start, and one of a pool that is stopped, are tried as often") {
  for (const Guests guests : {Guests::fail, Guests::answer}) {
    CAPTURE(static_cast<int>(guests));
    ScriptedPool made;
    made.reactor->run(end_early(made, guests));
  }
}

}  // namespace lambdo::engine
