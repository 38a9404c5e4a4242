#include "namespace/network_namespaces.h"

#include <arpa/inet.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "sandbox_fixture.h"
#include "test.h"

namespace lambdo::namespaces {

static ino_t inode(const Fd& handle) {
  struct stat status{};
  REQUIRE(::fstat(handle.get(), &status) == 0);
  return status.st_ino;
}

static ino_t own_inode() {
  struct stat status{};
  REQUIRE(::stat("/proc/self/ns/net", &status) == 0);
  return status.st_ino;
}

/// Whether `work` succeeded in a process in the namespace, which has ended then.
static bool inside(const NetworkNamespace& network, const std::function<bool()>& work) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) ::_exit(::setns(network.handle.get(), CLONE_NEWNET) == 0 && work() ? 0 : 1);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static sockaddr_in ipv4(const char* address) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(7777);
  ::inet_pton(AF_INET, address, &result.sin_addr);
  return result;
}

static bool bind_only() {
  const sockaddr_in address = ipv4("127.0.0.1");
  const Fd socket(::socket(AF_INET, SOCK_STREAM, 0));
  return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
         ::listen(socket.get(), 1) == 0;
}

static bool send_to_itself() {
  const sockaddr_in address = ipv4("127.0.0.1");
  const Fd socket(::socket(AF_INET, SOCK_DGRAM, 0));
  return ::sendto(socket.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 1;
}

static bool connect_out() {
  const sockaddr_in address = ipv4("192.0.2.1");
  const Fd socket(::socket(AF_INET, SOCK_STREAM, 0));
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 &&
         errno == ENETUNREACH;
}

/// A shared label outlives its socket and process (ipv6(7), Linux net/ipv6/ip6_flowlabel.c).
static bool leave_a_flow_label() {
  const Fd socket(::socket(AF_INET6, SOCK_DGRAM, 0));
  in6_flowlabel_req request{};
  request.flr_dst.s6_addr[15] = 1;
  request.flr_label = htonl(0x12345);
  request.flr_action = IPV6_FL_A_GET;
  request.flr_share = IPV6_FL_S_ANY;
  request.flr_flags = IPV6_FL_F_CREATE;
  request.flr_linger = 60;
  request.flr_expires = 60;
  return ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, &request, sizeof request) == 0;
}

TEST_CASE("a network namespace that nobody sent a packet in is used again") {
  if (!is_root("network namespaces")) return;
  const ino_t own = own_inode();
  auto networks = NetworkNamespaces::open();
  REQUIRE(networks);
  auto first = networks->take();
  REQUIRE(first);
  CHECK_EQ(own_inode(), own);
  CHECK_NE(inode(first->handle), own);
  const ino_t number = inode(first->handle);

  CHECK(inside(*first, bind_only));
  CHECK(networks->give_back(std::move(*first)));
  auto second = networks->take();
  REQUIRE(second);
  CHECK_EQ(inode(second->handle), number);
  auto third = networks->take();
  REQUIRE(third);
  CHECK_NE(inode(third->handle), number);
  CHECK_EQ(own_inode(), own);
}

TEST_CASE("one in which somebody sent, tried to, or left something behind is never used again") {
  if (!is_root("network namespaces")) return;
  auto networks = NetworkNamespaces::open();
  REQUIRE(networks);
  for (const auto& work : {send_to_itself, connect_out, leave_a_flow_label}) {
    auto taken = networks->take();
    REQUIRE(taken);
    CHECK(inside(*taken, work));
    CHECK_FALSE(networks->give_back(std::move(*taken)));
  }
  CHECK_EQ(networks->idle(), 0);
}

TEST_CASE("no more are kept than the limit") {
  if (!is_root("network namespaces")) return;
  auto networks = NetworkNamespaces::open();
  REQUIRE(networks);
  std::vector<NetworkNamespace> taken;
  for (size_t i = 0; i <= NetworkNamespaces::kMaxIdle; ++i) {
    auto network = networks->take();
    REQUIRE(network);
    taken.push_back(std::move(*network));
  }
  size_t kept = 0;
  for (NetworkNamespace& network : taken) kept += networks->give_back(std::move(network)) ? 1 : 0;
  CHECK_EQ(kept, NetworkNamespaces::kMaxIdle);
}

}  // namespace lambdo::namespaces
