#include "agent/network.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <thread>

#include "agent/configurator.h"
#include "base/syscalls.h"
#include "guest_process.h"

#include "test.h"

// On the real kernel, in namespaces of the test's own; what it did is read back with iproute2.
namespace lambdo::agent {

static constexpr char kMac[] = "02:00:00:00:00:01";

#define REQUIRE_ROOT()                                           \
  if (!GuestProcess::possible()) {                               \
    MESSAGE("skipped: network namespaces of its own need root"); \
    return;                                                      \
  }

/// Runs `body` in new network, mount and host name namespaces, which end with it.
static void in_own_namespaces(const std::function<void()>& body) {
  std::thread([&] {
    REQUIRE_EQ(::unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS), 0);
    REQUIRE_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    // The one there is shows the network of who mounted it.
    REQUIRE_EQ(::mount("proc", "/proc", "proc", 0, nullptr), 0);
    body();
  }).join();
}

/// What a command prints.
static std::string shell(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string text;
  for (char piece[4096]; const size_t count = ::fread(piece, 1, sizeof piece, pipe);) {
    text.append(piece, count);
  }
  REQUIRE_EQ(::pclose(pipe), 0);
  return text;
}

static std::string addresses() {
  return shell(
      "ip -o addr show dev eth0 | awk '{printf \"%s %s %s\\n\", $3, $4, $5 == \"brd\" ? $6 : \"\"}'");
}
static std::string routes(const std::string& family) {
  return shell("ip -" + family + " route show dev eth0 | sed 's/ *$//; s/ linkdown//'");
}

static bool link_shows(const std::string& what) {
  return shell("ip link show dev eth0").find(what) != std::string::npos;
}

static void make_interface() {
  REQUIRE_EQ(shell(std::string("ip link add eth0 address ") + kMac +
                   " type veth peer name peer && ip link set peer up"),
             "");
}

static InterfacePlan plan_of(const std::string& ipv4, const std::string& gateway) {
  InterfacePlan plan;
  plan.mac = MacAddress::parse(kMac).value();
  plan.addresses = {parse_interface_address(AF_INET, "", ipv4, gateway).value()};
  return plan;
}

static void apply(const InterfacePlan& plan) {
  const Result<> applied = configure_interface(plan);
  REQUIRE_MESSAGE(applied, applied.error().message);
}

TEST_CASE(
    "an interface gets addresses, MTU and default routes, at once and without IPv6 configuring itself") {
  REQUIRE_ROOT();
  in_own_namespaces([] {
    make_interface();
    InterfacePlan plan = plan_of("192.168.10.2/24", "192.168.10.1");
    plan.addresses.push_back(parse_interface_address(AF_INET6, "", "fd00::2/64", "fd00::1").value());
    plan.mtu = 1400;
    apply(plan);
    const std::string found = addresses();
    CHECK_NE(found.find("inet 192.168.10.2/24 192.168.10.255\n"), std::string::npos);
    CHECK_NE(found.find("inet6 fd00::2/64 \n"), std::string::npos);
    CHECK_EQ(shell("ip -6 addr show dev eth0 tentative"), "");
    CHECK_EQ(routes("4"),
             "default via 192.168.10.1 proto static\n"
             "192.168.10.0/24 proto kernel scope link src 192.168.10.2\n");
    CHECK_NE(routes("6").find("default via fd00::1 proto static metric 1024"), std::string::npos);
    CHECK(link_shows("mtu 1400 "));
    CHECK_EQ(shell("cat /proc/sys/net/ipv6/conf/eth0/accept_ra"), "0\n");
  });
}

TEST_CASE(
    "a gateway whose Ethernet address is told is never asked for, and nothing has a link-local address") {
  REQUIRE_ROOT();
  in_own_namespaces([] {
    make_interface();
    InterfacePlan plan = plan_of("192.168.10.2/24", "192.168.10.1");
    plan.addresses.push_back(parse_interface_address(AF_INET6, "", "fd00::2/64", "fd00::1").value());
    plan.addresses.back().gateway_mac = MacAddress::parse("02:00:00:00:00:99").value();
    // Twice: a clone is told again.
    for (int i = 0; i < 2; ++i) {
      apply(plan);
      CHECK_EQ(shell("ip -6 neigh show dev eth0 nud permanent | grep -v ^ff | sed 's/ *$//'"),
               "fd00::1 lladdr 02:00:00:00:00:99 PERMANENT\n");
      CHECK_EQ(shell("ip -6 addr show dev eth0 scope link"), "");
      CHECK_NE(routes("6").find("default via fd00::1 proto static metric 1024"), std::string::npos);
    }
  });
}

TEST_CASE("other values take the place of all that was there before") {
  REQUIRE_ROOT();
  in_own_namespaces([] {
    make_interface();
    InterfacePlan plan = plan_of("192.168.10.2/24", "192.168.10.1");
    plan.addresses.push_back(parse_interface_address(AF_INET6, "", "fd00::2/64", "fd00::1").value());
    apply(plan);
    // What a kernel's `ip=` or a program of the guest may have left.
    shell(
        "ip addr add 192.168.10.9/24 dev eth0; ip route add 10.0.0.0/8 via 192.168.10.7; "
        "ip neigh add 192.168.10.1 lladdr 02:00:00:00:00:99 dev eth0; ip -6 route add 2000::/3 via fd00::9");
    InterfacePlan other = plan_of("10.9.8.7/20", "10.9.0.1");
    other.new_mac = MacAddress::parse("02:00:00:00:00:77").value();
    // Twice: the answer to the first may have been lost.
    for (int i = 0; i < 2; ++i) {
      apply(other);
      CHECK_EQ(addresses(), "inet 10.9.8.7/20 10.9.15.255\n");
      CHECK_EQ(routes("4"),
               "default via 10.9.0.1 proto static\n10.9.0.0/20 proto kernel scope link src 10.9.8.7\n");
      CHECK_EQ(routes("6"), "");
      CHECK_EQ(shell("ip neigh show dev eth0"), "");
      CHECK(link_shows("link/ether 02:00:00:00:00:77 "));
    }
    // Back, also from no IPv6 to some.
    plan.mac = *other.new_mac;
    apply(plan);
    CHECK_NE(addresses().find("inet6 fd00::2/64"), std::string::npos);
    CHECK_EQ(addresses().find("10.9"), std::string::npos);
  });
}

TEST_CASE("the same address can get another prefix, and a secondary one can become the only one") {
  REQUIRE_ROOT();
  in_own_namespaces([] {
    make_interface();
    for (const char* address : {"10.0.0.2/24", "10.0.0.2/16", "10.0.0.3/16", "10.0.0.3/31"}) {
      apply(plan_of(address, ""));
      CHECK(addresses().starts_with(std::string("inet ") + address));
      CHECK_EQ(shell("ip -4 -o addr show dev eth0 | wc -l"), "1\n");
      CHECK_EQ(shell("ip route show default"), "");
    }
  });
}

TEST_CASE("a gateway outside of the guest's network is reached on its link") {
  REQUIRE_ROOT();
  in_own_namespaces([] {
    make_interface();
    InterfacePlan plan = plan_of("10.0.0.2/32", "169.254.1.1");
    plan.addresses.push_back(parse_interface_address(AF_INET6, "", "fd00::2/128", "fe80::1").value());
    apply(plan);
    CHECK_EQ(routes("4"), "default via 169.254.1.1 proto static onlink\n");
    CHECK_NE(routes("6").find("default via fe80::1 proto static"), std::string::npos);
  });
}

TEST_CASE("an interface that is not there, and what the kernel refuses, are told precisely") {
  REQUIRE_ROOT();
  in_own_namespaces([] {
    const auto missing = configure_interface(plan_of("10.0.0.2/24", ""));
    REQUIRE(!missing);
    CHECK_EQ(missing.error().code, Code::not_found);
    CHECK_EQ(
        missing.error().message,
        "there is no interface with the MAC address 02:00:00:00:00:01; there are lo (00:00:00:00:00:00)");
    make_interface();
    InterfacePlan named = plan_of("10.0.0.2/24", "");
    named.name = "eth7";
    const auto unnamed = configure_interface(named);
    REQUIRE(!unnamed);
    CHECK(unnamed.error().message.starts_with("there is no interface named eth7; there are lo "));
    InterfacePlan huge = plan_of("10.0.0.2/24", "");
    huge.mtu = 1 << 20;
    const auto refused = configure_interface(huge);
    REQUIRE(!refused);
    CHECK_EQ(refused.error().message, "bring up eth0: Invalid argument (mtu greater than device maximum)");
    // And it can be mended.
    apply(plan_of("10.0.0.2/24", ""));
  });
}

struct NameFixture {
  NameFixture() {
    char name[] = "/tmp/lambdo-names-test-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    base = name;
    folders = {.etc = base + "/etc", .own = base + "/run/lambdo"};
  }
  ~NameFixture() {
    std::error_code ignored;
    std::filesystem::remove_all(base, ignored);
  }
  std::string read(const std::string& name) { return sys::read_file(folders.etc + name).value_or("(none)"); }

  std::string base;
  NameFolders folders;
};

TEST_CASE("names reach a read-only root, whatever the image has in their place, and change later") {
  REQUIRE_ROOT();
  in_own_namespaces([] {
    NameFixture fixture;
    const std::string& etc = fixture.folders.etc;
    REQUIRE(sys::mkdirs(etc, 0755));
    REQUIRE_EQ(::symlink("../run/systemd/resolve/stub-resolv.conf", (etc + "/resolv.conf").c_str()), 0);
    REQUIRE_EQ(::symlink("/proc/sys/kernel/hostname", (etc + "/hostname").c_str()), 0);
    prepare_name_files(fixture.folders);
    CHECK_EQ(fixture.read("/hosts"), "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    CHECK_EQ(fixture.read("/resolv.conf"), "");
    REQUIRE_EQ(::mount(etc.c_str(), etc.c_str(), nullptr, MS_BIND, nullptr), 0);
    REQUIRE_EQ(::mount(nullptr, etc.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr), 0);
    InterfacePlan plan = plan_of("10.0.0.2/24", "");
    plan.dns_servers = {IpAddress::parse("1.1.1.1").value(), IpAddress::parse("9.9.9.9").value()};
    for (int i = 0; i < 2; ++i) {
      REQUIRE(write_name_files(fixture.folders, "first", &plan));
      CHECK_EQ(fixture.read("/resolv.conf"), "nameserver 1.1.1.1\nnameserver 9.9.9.9\n");
      CHECK_EQ(fixture.read("/hostname"), "first\n");
      CHECK(fixture.read("/hosts").ends_with("10.0.0.2 first\n"));
      // Shorter than before.
      plan.dns_servers = {IpAddress::parse("8.8.8.8").value()};
      REQUIRE(write_name_files(fixture.folders, "2nd", &plan));
      CHECK_EQ(fixture.read("/resolv.conf"), "nameserver 8.8.8.8\n");
      CHECK_EQ(fixture.read("/hostname"), "2nd\n");
      plan.dns_servers = {IpAddress::parse("1.1.1.1").value(), IpAddress::parse("9.9.9.9").value()};
    }
    // Mounted once, and not to be written by that way.
    CHECK_EQ(shell("grep -c names-test.*resolv.conf /proc/self/mounts"), "1\n");
    CHECK_FALSE(sys::open(etc + "/hosts", O_WRONLY));
    CHECK_EQ(shell("umount " + etc + "/* && umount " + etc), "");
  });
}

TEST_CASE("an image's own files stay as they are until there are names to set") {
  REQUIRE_ROOT();
  in_own_namespaces([] {
    NameFixture fixture;
    REQUIRE(sys::mkdirs(fixture.folders.etc, 0755));
    shell("echo 1.2.3.4 mine > " + fixture.folders.etc + "/hosts");
    prepare_name_files(fixture.folders);
    CHECK_EQ(fixture.read("/hosts"), "1.2.3.4 mine\n");
  });
}

TEST_CASE("an image without a file to mount over, and with a read-only root, is told by its path") {
  REQUIRE_ROOT();
  in_own_namespaces([] {
    NameFixture fixture;
    REQUIRE(sys::mkdirs(fixture.folders.etc, 0755));
    const auto written = write_name_files(fixture.folders, "x", nullptr);
    REQUIRE(!written);
    CHECK_EQ(written.error().message,
             fixture.folders.etc +
                 "/hosts: the image has none, and its root is read-only: No such file or directory");
  });
}

TEST_CASE("a configurator keeps what a later request leaves out") {
  REQUIRE_ROOT();
  in_own_namespaces([] {
    make_interface();
    NameFixture fixture;
    prepare_name_files(fixture.folders);
    Configurator configurator(fixture.folders);
    proto::ConfigureRequest request;
    request.set_hostname("one");
    request.mutable_interface()->set_mac(kMac);
    request.mutable_interface()->set_ipv4("10.0.0.2/24");
    REQUIRE(configurator.apply(request));
    proto::ConfigureRequest named;
    named.set_hostname("two");
    REQUIRE(configurator.apply(named));
    CHECK_EQ(addresses(), "inet 10.0.0.2/24 10.0.0.255\n");
    CHECK(fixture.read("/hosts").ends_with("10.0.0.2 two\n"));
    request.clear_hostname();
    request.mutable_interface()->set_ipv4("10.0.0.3/24");
    REQUIRE(configurator.apply(request));
    CHECK_EQ(shell("hostname"), "two\n");
    CHECK(fixture.read("/hosts").ends_with("10.0.0.3 two\n"));
    // Nothing is changed by a request that is wrong somewhere.
    request.set_hostname("three");
    request.mutable_interface()->set_ipv4("10.0.0.300/24");
    CHECK_EQ(configurator.apply(request).error().code, Code::invalid_argument);
    CHECK_EQ(shell("hostname"), "two\n");
    shell("umount " + fixture.folders.etc + "/*");
  });
}

}  // namespace lambdo::agent
