#include "net/guest_network.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/syscalls.h"
#include "fixture.h"
#include "net/helper_protocol.h"
#include "net/link.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "test.h"

namespace lambdo::net {

namespace {

using reactor::Task;

HostNetworkSettings settings_in(const TestFolder& folder, PortKind kind) {
  HostNetworkSettings settings{.state_dir = folder.path(),
                               .address = value_of(Ipv4Subnet::parse("192.168.10.1/24"))};
  settings.resolvers = {value_of(Ipv4Address::parse("192.0.2.53"))};
  settings.kind = kind;
  settings.ports_ready = 2;
  settings.egress = false;
  return settings;
}

/// A helper and the server's side of it.
class Helped {
 public:
  explicit Helped(const HostNetworkSettings& settings) {
    auto process = value_of(GuestNetwork::start_process(settings));
    reactor = value_of(reactor::Reactor::create());
    network = std::make_unique<GuestNetwork>(*reactor, std::move(process), settings.resolvers);
  }
  ~Helped() { reactor->run(network->stop()); }

  std::unique_ptr<reactor::Reactor> reactor;
  std::unique_ptr<GuestNetwork> network;
};

size_t ports(Namespace& space) {
  return value_of(list_links(space.socket(), port_prefix("lambdo0"))).size();
}

Task<AttachedGuest> attached(GuestNetwork& network) {
  auto guest = co_await network.attach({}, {});
  REQUIRE_MESSAGE(guest, guest.error().message);
  co_return std::move(*guest);
}

}  // namespace

TEST_CASE("the policy, guest and counters of a helper's messages survive the way, and others are refused") {
  const Policy policy{
      .access = Policy::Access::egress,
      .public_only = true,
      .allowed = {{.to = value_of(Ipv4Subnet::parse("203.0.113.0/24"))},
                  {.to = value_of(Ipv4Subnet::parse("0.0.0.0/0")),
                   .protocol = Policy::Protocol::tcp,
                   .first_port = 80,
                   .last_port = 443}},
      .denied = {value_of(IpSubnet::parse("198.51.100.0/24")), value_of(IpSubnet::parse("fc00::/7"))}};
  const auto request = encode_policy_request(HelperKind::attach, "guest", policy);
  const std::string bytes = value_of(helper::encode(helper_protocol(), request));
  CHECK(value_of(helper::decode(helper_protocol(), std::as_bytes(std::span(bytes)))) == request);
  CHECK(value_of(decode_policy(request)) == policy);
  using Change = void (*)(helper::Message&);
  const Change changes[] = {
      [](helper::Message& message) { message.numbers[0] = 3; },
      [](helper::Message& message) { message.numbers[2] = 3; },
      [](helper::Message& message) { message.numbers[2] = ~uint64_t{0}; },
      [](helper::Message& message) { message.numbers[3] = uint64_t{3} << 32; },
      [](helper::Message& message) { message.texts[1] = "203.0.113.0/24 accept"; },
      [](helper::Message& message) { message.texts[3] = "::/129"; },
      [](helper::Message& message) { message.texts.resize(2); },
  };
  for (const Change change : changes) {
    helper::Message changed = request;
    change(changed);
    CHECK_FALSE(decode_policy(changed));
  }
  AttachedGuest guest;
  guest.port = "l123456t1";
  guest.lease = {value_of(Ipv4Address::parse("192.168.10.2")), mac_of("guest"), std::nullopt};
  guest.prefix_len = 24;
  guest.mtu = 1400;
  const AttachedGuest decoded = value_of(decode_guest(encode_guest(guest)));
  CHECK(decoded.lease == guest.lease);
  CHECK(decoded.port == guest.port);
  CHECK(decoded.mtu == 1400);
  CHECK_FALSE(decoded.ipv6);
  CHECK_FALSE(decode_guest({}));
  guest.ipv6 = {.address = value_of(Ipv6Subnet::parse("fd00::c0a8:a02/64")),
                .gateway = value_of(Ipv6Address::parse("fd00::1")),
                .gateway_mac = mac_of("bridge")};
  guest.lease.ipv6 = guest.ipv6->address.address;
  const AttachedGuest with_ipv6 = value_of(decode_guest(encode_guest(guest)));
  CHECK(with_ipv6.ipv6 == guest.ipv6);
  CHECK(with_ipv6.lease == guest.lease);
  CHECK(value_of(decode_counters(encode_counters({1, 2, 3, 4, 5, 6}))).refused_packets == 6);
  CHECK_FALSE(decode_counters(encode_guest(guest)));
}

static Task<> use(GuestNetwork& network) {
  AttachedGuest guest = co_await attached(network);
  const AttachedGuest other = co_await attached(network);
  CHECK(guest.lease.address != other.lease.address);
  CHECK(guest.lease.mac != other.lease.mac);
  CHECK(guest.end.valid());
  CHECK(guest.resolvers.at(0).text() == "192.0.2.53");
  CHECK(co_await network.set_policy(guest.port, {}));
  CHECK((co_await network.set_policy(guest.port, {.access = Policy::Access::full})).error().code ==
        Code::permission_denied);
  const auto counters = co_await network.counters(guest.port);
  REQUIRE(counters);
  CHECK(counters->refused_packets == 0);
  CHECK(co_await network.detach(guest.port));
  CHECK((co_await network.detach(guest.port)).error().code == Code::not_found);
  CHECK(co_await network.detach(other.port));
}

TEST_CASE("a helper without other rights attaches guests of either kind, and leaves nothing") {
  if (!network_usable()) return;
  for (const PortKind kind : {PortKind::tap, PortKind::veth}) {
    CAPTURE(static_cast<int>(kind));
    const TestFolder folder;
    Namespace space;
    {
      Helped helped(settings_in(folder, kind));
      const std::string status =
          value_of(sys::read_file("/proc/" + std::to_string(helped.network->helper_pid()) + "/status"));
      const bool enters = kind == PortKind::veth;
      CHECK(status.contains(enters ? "CapEff:\t0000000000201000" : "CapEff:\t0000000000001000"));
      CHECK(status.contains("Seccomp:\t2"));
      helped.reactor->run(use(*helped.network));
    }
    for (int i = 0; i < 500 && ports(space) != 0; ++i) ::usleep(10'000);
    CHECK(ports(space) == 0);
    CHECK_FALSE(find_link(space.socket(), "lambdo0"));
  }
}

static Task<> attach_one(GuestNetwork& network, reactor::CancelToken token,
                         std::vector<AttachedGuest>& guests, size_t& refused) {
  auto guest = co_await network.attach({}, token);
  if (guest) {
    guests.push_back(std::move(*guest));
  } else {
    ++refused;
  }
}

static Task<> attach_at_once(reactor::Reactor& reactor, GuestNetwork& network) {
  std::vector<AttachedGuest> guests;
  size_t refused = 0;
  reactor::Scope scope(reactor);
  for (int i = 0; i < 5; ++i) scope.spawn(attach_one(network, {}, guests, refused));
  co_await scope.join();
  // Five addresses there are, and each is one guest's.
  CHECK(guests.size() == 5);
  std::set<std::string> addresses;
  for (const AttachedGuest& guest : guests) addresses.insert(guest.lease.address.text());
  CHECK(addresses.size() == 5);
  CHECK((co_await network.attach({}, {})).error().code == Code::resource_exhausted);
  for (const AttachedGuest& guest : guests) CHECK(co_await network.detach(guest.port));
}

static Task<> cancel_attaching(reactor::Reactor& reactor, GuestNetwork& network) {
  for (int round = 0; round < 4; ++round) {
    std::vector<AttachedGuest> guests;
    size_t refused = 0;
    reactor::Scope scope(reactor);
    for (int i = 0; i < 5; ++i) scope.spawn(attach_one(network, scope.token(), guests, refused));
    // Later each time: before the requests are sent, and when some are answered.
    if (round > 0) (void)co_await reactor::SleepOp::for_ms(reactor, int64_t{2} * round, {});
    scope.cancel();
    co_await scope.join();
    CHECK(guests.size() + refused == 5);
    for (const AttachedGuest& guest : guests) CHECK(co_await network.detach(guest.port));
    // Answers come in the order of requests: by this one's all of those are detached.
    reactor::Scope all(reactor);
    std::vector<AttachedGuest> later;
    size_t none = 0;
    (void)co_await reactor::SleepOp::for_ms(reactor, 200, {});
    for (int i = 0; i < 5; ++i) all.spawn(attach_one(network, {}, later, none));
    co_await all.join();
    CHECK(later.size() == 5);
    for (const AttachedGuest& guest : later) CHECK(co_await network.detach(guest.port));
  }
}

TEST_CASE("attaches overlap, and those that nobody waits for any more are undone") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  HostNetworkSettings settings = settings_in(folder, PortKind::tap);
  settings.address = value_of(Ipv4Subnet::parse("192.168.10.1/29"));
  settings.quarantine_ns = 0;
  Helped helped(settings);
  helped.reactor->run(attach_at_once(*helped.reactor, *helped.network));
  helped.reactor->run(cancel_attaching(*helped.reactor, *helped.network));
}

static Task<> outlive_the_helper(GuestNetwork& network) {
  const AttachedGuest guest = co_await attached(network);
  ::kill(network.helper_pid(), SIGKILL);
  const auto attached_late = co_await network.attach({}, {});
  CHECK(attached_late.error().code == Code::engine_failed);
  const auto detached = co_await network.detach(guest.port);
  CHECK(detached.error().code == Code::engine_failed);
  CHECK(detached.error().message.contains("the network helper process has died"));
  CHECK_FALSE(network.alive());
  CHECK_FALSE(co_await network.counters(guest.port));
}

TEST_CASE("a helper that dies fails what waits and what comes, and the next one clears up") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  const HostNetworkSettings settings = settings_in(folder, PortKind::tap);
  {
    Helped helped(settings);
    helped.reactor->run(outlive_the_helper(*helped.network));
  }
  CHECK(find_link(space.socket(), "lambdo0"));
  {
    const Helped next(settings);
  }
  CHECK_FALSE(find_link(space.socket(), "lambdo0"));
}

TEST_CASE("a helper whose server is gone removes everything, and the next server waits for it") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  const HostNetworkSettings settings = settings_in(folder, PortKind::veth);
  const pid_t server = ::fork();
  REQUIRE(server >= 0);
  if (server == 0) {
    const auto process = GuestNetwork::start_process(settings);
    ::_exit(process ? 7 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(server, &status, 0) == server);
  CHECK(WEXITSTATUS(status) == 7);
  {
    Helped next(settings);
  }
  CHECK_FALSE(find_link(space.socket(), "lambdo0"));
  // Two at a time are one too many, and the second says who has the bridge.
  const TestFolder other_folder;
  Helped first(settings);
  const auto second = GuestNetwork::start_process(settings_in(other_folder, PortKind::tap));
  REQUIRE_FALSE(second);
  CHECK(second.error().message.contains("uses the bridge lambdo0 already"));
  // And does no harm to the first.
  first.reactor->run(use(*first.network));
}

}  // namespace lambdo::net
