#include "net/host_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "fixture.h"
#include "frames.h"
#include "net/addresses.h"
#include "net/link.h"
#include "net/nftables.h"
#include "net/undo.h"
#include "test.h"

namespace lambdo::net {

namespace {

constexpr long long kSecond = 1'000'000'000;

HostNetworkSettings settings_in(const TestFolder& folder) {
  return {.state_dir = folder.path(),
          .address = value_of(Ipv4Subnet::parse("192.168.10.1/24")),
          .agent_port = 50051,
          .ports_ready = 2,
          .egress = false};
}

/// Everything of the network that could be left behind, as text.
std::string view_of(NetlinkSocket& socket) {
  std::string view;
  for (const Link& link : value_of(list_links(socket, ""))) {
    view += link.name + " " + link.kind + " " + link.mac.text() + "\n";
    for (const IpSubnet& address : value_of(list_addresses(socket, link)))
      view += "  " + address.text() + "\n";
    for (const Neighbour& each : value_of(list_neighbours(socket, link)))
      view += "  " + each.address.text() + "\n";
  }
  for (const Route& route : value_of(list_routes(socket))) view += route.to.text() + "\n";
  Nftables nftables = value_of(Nftables::open());
  return view + value_of(nftables.run("list ruleset\n", "list"));
}

/// A server's life: guests come and go, one stays until the end.
void live(const TestFolder& folder) {
  HostNetwork network = value_of(HostNetwork::open(settings_in(folder)));
  const AttachedGuest first = value_of(network.attach("first", {}, 0));
  const AttachedGuest second = value_of(network.attach("second", {}, 0));
  require_ok(network.detach(first.port, 0));
  require_ok(network.refill());
  require_ok(network.close());
}

bool changes_something(long number) {
  static constexpr long kNumbers[] = {SYS_sendto, SYS_sendmsg, SYS_write,  SYS_ioctl, SYS_openat,
                                      SYS_rename, SYS_close,   SYS_unlink, SYS_bind,  SYS_mkdir};
  return std::ranges::find(kNumbers, number) != std::end(kNumbers);
}

/// Runs `work` in a child and kills it before the system call that is number `at` of those that change
/// something. False where it ended before.
bool killed_at(int at, const std::function<void()>& work) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    work();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  bool entering = true;
  for (int seen = 0; seen <= at;) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (WIFEXITED(status)) return false;
    REQUIRE(WIFSTOPPED(status));
    user_regs_struct registers{};
    ::ptrace(PTRACE_GETREGS, child, nullptr, &registers);
    if (entering && changes_something(static_cast<long>(registers.orig_rax))) ++seen;
    entering = !entering;
  }
  ::kill(child, SIGKILL);
  REQUIRE(::waitpid(child, &status, 0) == child);
  return true;
}

}  // namespace

TEST_CASE("a guest is attached with all it needs, and detached without a trace") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  const std::string before = view_of(space.socket());
  HostNetwork network = value_of(HostNetwork::open(settings_in(folder)));
  const std::string open = view_of(space.socket());
  AttachedGuest guest = value_of(network.attach("guest", {}, 0));
  CHECK(guest.lease.mac == mac_of("guest"));
  CHECK(guest.lease.address.text() == "192.168.10.2");
  CHECK(guest.gateway.text() == "192.168.10.1");
  CHECK(guest.prefix_len == 24);
  CHECK(guest.mtu == 1500);
  // ARP for the host is answered to it, and only to its own address.
  const Arp asks{.sender_mac = guest.lease.mac, .sender = guest.lease.address, .target = guest.gateway};
  const std::string frame = std::string(12, '\0') + arp_frame(guest.lease.mac, kBroadcastMac, asks);
  REQUIRE(::write(guest.end.get(), frame.data(), frame.size()) > 0);
  char answer[128];
  ssize_t count = -1;
  for (int i = 0; i < 2000 && count < 0; ++i) {
    count = ::read(guest.end.get(), answer, sizeof answer);
    if (count < 0) ::usleep(1000);
  }
  CHECK(count >= 12 + 42);
  CHECK(network.attach("other", {.access = Policy::Access::full}, 0).error().code == Code::permission_denied);
  require_ok(network.detach(guest.port, 0));
  CHECK(network.detach(guest.port, 0).error().code == Code::not_found);
  CHECK_FALSE(view_of(space.socket()).contains("192.168.10.2"));
  require_ok(network.close());
  guest.end.reset();
  CHECK(view_of(space.socket()) == before);
  CHECK(open != before);
}

TEST_CASE("TAPs are made ahead, isolated, used once, and gone with their last copy") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  HostNetwork network = value_of(HostNetwork::open(settings_in(folder)));
  const std::string prefix = port_prefix("lambdo0");
  CHECK(prefix.size() == 8);
  CHECK(prefix != port_prefix("lambdo1"));
  const auto taps = [&] { return value_of(list_links(space.socket(), prefix)).size(); };
  CHECK(taps() == 2);
  std::vector<std::string> ports;
  for (long long i = 0; i < 4; ++i) {
    const AttachedGuest guest = value_of(network.attach("guest", {}, i * 60 * kSecond));
    CHECK(value_of(sys::read_file("/sys/class/net/" + guest.port + "/brport/isolated")) == "1\n");
    ports.push_back(guest.port);
    require_ok(network.detach(guest.port, i * 60 * kSecond));
  }
  CHECK(taps() == 0);
  std::ranges::sort(ports);
  CHECK(std::ranges::adjacent_find(ports) == ports.end());
  require_ok(network.refill());
  CHECK(taps() == 2);
  require_ok(network.close());
  CHECK(taps() == 0);
}

namespace {

/// Runs `work` in a guest's network namespace.
void in_guest(const AttachedGuest& guest, const std::function<void()>& work) {
  const Fd home = value_of(sys::open("/proc/thread-self/ns/net", O_RDONLY));
  REQUIRE(::setns(guest.end.get(), CLONE_NEWNET) == 0);
  work();
  REQUIRE(::setns(home.get(), CLONE_NEWNET) == 0);
}

/// Whether a TCP connection from this namespace comes to be; a refused one shows at once, a dropped one
/// never.
bool connects(Ipv4Address address, uint16_t port) {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in to{
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(address.value)}, .sin_zero = {}};
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return true;
  if (errno != EINPROGRESS) return false;
  pollfd writable{.fd = socket.get(), .events = POLLOUT};
  if (::poll(&writable, 1, 100) != 1) return false;
  int error = 0;
  socklen_t len_bytes = sizeof error;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &len_bytes);
  return error == 0;
}

Fd listen_everywhere(uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in any{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0);
  REQUIRE(::listen(socket.get(), 8) == 0);
  return socket;
}

void send_raw(const std::string& frame) {
  const Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(::if_nametoindex("eth0"));
  REQUIRE(::sendto(socket.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                   sizeof to) > 0);
}

}  // namespace

TEST_CASE("a guest of processes has a namespace with its addresses, behind the rules of a TAP") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  const std::string before = view_of(space.socket());
  HostNetworkSettings settings = settings_in(folder);
  settings.kind = PortKind::veth;
  HostNetwork network = value_of(HostNetwork::open(settings));
  CHECK(value_of(network.refill_one()) == false);
  AttachedGuest guest = value_of(network.attach("guest", {}, 0));
  AttachedGuest other = value_of(network.attach("other", {}, 0));
  CHECK(value_of(network.refill_one()));
  const Fd at_agent_port = listen_everywhere(50051);
  const Fd at_host_port = listen_everywhere(8080);
  in_guest(guest, [&] {
    NetlinkSocket inside = value_of(NetlinkSocket::open());
    const Link link = value_of(find_link(inside, "eth0"));
    CHECK(link.mac == guest.lease.mac);
    CHECK(link.mtu == guest.mtu);
    CHECK(value_of(list_addresses(inside, link)).at(0).text() == guest.lease.address.text() + "/24");
    CHECK(value_of(list_links(inside, "")).size() == 2);
    CHECK(value_of(sys::read_file("/proc/sys/net/ipv6/conf/eth0/disable_ipv6")) == "1\n");
    CHECK(connects(guest.gateway, 50051));
    CHECK_FALSE(connects(guest.gateway, 8080));
    const Fd at_guest = listen_everywhere(50051);
    in_guest(other, [&] {
      CHECK(connects(guest.gateway, 50051));
      CHECK_FALSE(connects(guest.lease.address, 50051));
    });
    // As one who has broken into the namespace: with another's addresses, of either kind.
    const MacAddress gateway_mac = network.bridge().link().mac;
    send_raw(udp_frame({guest.lease.mac, gateway_mac, other.lease.address, guest.gateway}, "x"));
    send_raw(udp_frame({other.lease.mac, gateway_mac, guest.lease.address, guest.gateway}, "x"));
    send_raw(
        arp_frame(guest.lease.mac, kBroadcastMac,
                  {.sender_mac = guest.lease.mac, .sender = other.lease.address, .target = guest.gateway}));
    send_raw(ipv6_frame(guest.lease.mac, gateway_mac, 17, "x"));
  });
  CHECK(value_of(network.counters(guest.port)).spoofed_packets == 4);
  require_ok(network.detach(guest.port, 0));
  in_guest(guest, [&] { CHECK_FALSE(connects(guest.gateway, 50051)); });
  require_ok(network.detach(other.port, 0));
  require_ok(network.close());
  guest.end.reset();
  other.end.reset();
  // The kernel takes namespaces away when it has the time.
  for (int i = 0; i < 500 && view_of(space.socket()) != before; ++i) ::usleep(10'000);
  CHECK(view_of(space.socket()) == before);
}

TEST_CASE("a host that does not forward is no host of guests with egress") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  HostNetworkSettings settings = settings_in(folder);
  settings.egress = true;
  const auto refused = HostNetwork::open(settings);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.contains("sysctl -w net.ipv4.ip_forward=1"));
  require_ok(sys::write_file("/proc/sys/net/ipv4/ip_forward", "1"));
  HostNetwork network = value_of(HostNetwork::open(settings));
  const AttachedGuest guest = value_of(network.attach("guest", {.access = Policy::Access::full}, 0));
  require_ok(network.set_policy(guest.port, {}));
  require_ok(network.close());
}

TEST_CASE("a network without a free address says so, and an address comes back after its rest") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  HostNetworkSettings settings = settings_in(folder);
  settings.address = value_of(Ipv4Subnet::parse("192.168.10.1/30"));
  HostNetwork network = value_of(HostNetwork::open(settings));
  const AttachedGuest guest = value_of(network.attach("a", {}, 0));
  CHECK(network.attach("b", {}, 0).error().code == Code::resource_exhausted);
  require_ok(network.detach(guest.port, 0));
  CHECK_FALSE(network.attach("b", {}, settings.quarantine_ns - 1));
  CHECK(network.attach("b", {}, settings.quarantine_ns));
  require_ok(network.close());
}

TEST_CASE("a server that was killed at any point leaves nothing after the next start") {
  if (!network_usable()) return;
  for (const bool adopted : {false, true}) {
    CAPTURE(adopted);
    const TestFolder folder;
    Namespace space;
    if (adopted) {
      const Link own = value_of(create_bridge(space.socket(), "lambdo0", mac_of("operator")));
      // Or it would get an address by itself with its first port.
      require_ok(enable_static_ipv6(space.socket(), own));
      require_ok(add_address(space.socket(), own, value_of(Ipv4Subnet::parse("192.168.10.1/24"))));
      require_ok(set_up(space.socket(), own, true));
    }
    const std::string before = view_of(space.socket());
    int points = 0;
    // Every third call, from another one each time round: the steps in between are the same kinds.
    for (int at = adopted ? 1 : 0; killed_at(at, [&] { live(folder); }); at += 3, ++points) {
      CAPTURE(at);
      NetlinkSocket socket = value_of(NetlinkSocket::open());
      Journal journal = value_of(Journal::open(folder.path() + "/network"));
      require_ok(undo_all(socket, journal));
      CHECK(journal.entries().empty());
      CHECK(view_of(socket) == before);
    }
    MESSAGE("killed at ", points, " points");
    CHECK(points > 30);
    CHECK(view_of(space.socket()) == before);
  }
}

TEST_CASE("a port that outlives its rules is removed") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  const Link own = value_of(create_bridge(space.socket(), "lambdo0", mac_of("operator")));
  require_ok(add_address(space.socket(), own, value_of(Ipv4Subnet::parse("192.168.10.1/24"))));
  HostNetwork network = value_of(HostNetwork::open(settings_in(folder)));
  const AttachedGuest guest = value_of(network.attach("guest", {}, 0));
  CHECK(value_of(find_link(space.socket(), guest.port)).up);
  require_ok(network.close());
  CHECK_FALSE(find_link(space.socket(), guest.port));
}

/// A server that has a guest, and is killed.
void live_and_be_killed(const HostNetworkSettings& settings) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    HostNetwork network = value_of(HostNetwork::open(settings));
    const AttachedGuest guest = value_of(network.attach("guest", {}, 0));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
}

TEST_CASE("a server starts over what a killed one left") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  const std::string before = view_of(space.socket());
  live_and_be_killed(settings_in(folder));
  CHECK(view_of(space.socket()) != before);
  HostNetwork network = value_of(HostNetwork::open(settings_in(folder)));
  CHECK_FALSE(network.bridge().adopted());
  AttachedGuest guest = value_of(network.attach("guest", {}, 0));
  require_ok(network.detach(guest.port, 0));
  guest.end.reset();
  require_ok(network.close());
  CHECK(view_of(space.socket()) == before);
}

TEST_CASE("a server that starts with another bridge leaves its former one to the server that has it now") {
  if (!network_usable()) return;
  const TestFolder folder;
  const TestFolder others_folder;
  Namespace space;
  const std::string before = view_of(space.socket());
  live_and_be_killed(settings_in(folder));
  HostNetwork others = value_of(HostNetwork::open(settings_in(others_folder)));
  AttachedGuest guest = value_of(others.attach("guest", {}, 0));
  const std::string served = view_of(space.socket());

  HostNetworkSettings moved = settings_in(folder);
  moved.bridge = "lambdo1";
  moved.address = value_of(Ipv4Subnet::parse("192.168.11.1/24"));
  HostNetwork network = value_of(HostNetwork::open(moved));
  CHECK(find_link(space.socket(), guest.port));
  require_ok(network.close());
  CHECK(view_of(space.socket()) == served);

  require_ok(others.detach(guest.port, 0));
  guest.end.reset();
  require_ok(others.close());
  CHECK(view_of(space.socket()) == before);
}

}  // namespace lambdo::net
