#include <csignal>
#include <memory>
#include <string>
#include <utility>

#include "engine/agent_grpc.h"
#include "engine/runner.h"
#include "engine/warm_pool.h"
#include "fixture.h"
#include "net/guest_network.h"
#include "reactor/timer.h"
#include "scripted_engine.h"

#include "test.h"

// Guests with a network, from a pool: attached before they start, detached when they are gone.
namespace lambdo::engine {

using Guests = ScriptedEngine::Guests;
using net::value_of;
using reactor::Task;

/// Five addresses, none of which rests: what is not detached is missed soon.
static net::HostNetworkSettings small_network(const net::TestFolder& folder) {
  net::HostNetworkSettings settings{.state_dir = folder.path(),
                                    .address = value_of(Ipv4Subnet::parse("192.168.10.1/29"))};
  settings.ports_ready = 1;
  settings.quarantine_ns = 0;
  settings.egress = false;
  return settings;
}

/// A pool over a scripted engine and a real network.
struct NetworkedPool {
  NetworkedPool()
      : process(value_of(net::GuestNetwork::start_process(small_network(folder)))),
        network(*reactor, std::move(process), {}),
        agents(*reactor),
        slots(*reactor, 2),
        pool(*reactor, engine, agents, slots, &network, {0, "networked", 0, 300, net::Policy{}}) {}

  net::TestFolder folder;
  net::Namespace space;
  helper::Process process;
  std::unique_ptr<reactor::Reactor> reactor = reactor::Reactor::create().value();
  net::GuestNetwork network;
  ScriptedEngine engine{{Guests::answer}};
  AgentGrpc agents;
  StartSlots slots;
  WarmPool pool;
};

static Task<> use_often(NetworkedPool& made) {
  for (const Guests guests : {Guests::fail, Guests::answer, Guests::hang, Guests::answer}) {
    made.engine.script[0] = guests;
    const int rounds = guests == Guests::answer ? 20 : 3;
    for (int i = 0; i < rounds; ++i) {
      auto guest = co_await made.pool.acquire({});
      CHECK_EQ(guest.has_value(), guests == Guests::answer);
      if (!guest) continue;
      CHECK_FALSE(guest->port.empty());
      CHECK(co_await made.network.counters(guest->port));
      made.pool.dispose(std::move(*guest));
    }
  }
  co_await made.pool.stop();
  // All five are free.
  for (int i = 0; i < 5; ++i) CHECK(co_await made.network.attach({}, {}));
  co_await made.network.stop();
}

TEST_CASE("every guest of a pool is attached, and detached however it ends") {
  if (!net::network_usable()) return;
  NetworkedPool made;
  made.reactor->run(use_often(made));
}

static Task<> lose_the_network(NetworkedPool& made) {
  ::kill(made.network.helper_pid(), SIGKILL);
  const auto guest = co_await made.pool.acquire({});
  REQUIRE_FALSE(guest);
  CHECK_EQ(guest.error().code, Code::engine_failed);
  CHECK_NE(guest.error().message.find("network"), std::string::npos);
  co_await made.pool.stop();
  co_await made.network.stop();
}

TEST_CASE("without its network a pool says why there is no guest") {
  if (!net::network_usable()) return;
  NetworkedPool made;
  made.reactor->run(lose_the_network(made));
}

}  // namespace lambdo::engine
