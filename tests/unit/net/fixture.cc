#include "fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/sockets.h"
#include "base/syscalls.h"
#include "test.h"

namespace lambdo::net {

static std::string why_unusable() {
  if (::geteuid() != 0) return "needs root";
  if (::access("/dev/net/tun", R_OK | W_OK) != 0) return "/dev/net/tun is absent or not permitted here";
  const auto before = sys::open("/proc/self/ns/net", O_RDONLY);
  if (!before || ::unshare(CLONE_NEWNET) < 0) return "no network namespace may be made here";
  std::string why;
  const auto socket = NetlinkSocket::open();
  if (!socket) why = socket.error().message;
  if (socket) {
    const auto bridge = create_bridge(const_cast<NetlinkSocket&>(*socket), "probe", mac_of("probe"));
    if (!bridge) why = bridge.error().message;
  }
  if (::setns(before->get(), CLONE_NEWNET) < 0) why = "cannot leave a network namespace";
  return why;
}

bool network_usable() {
  static const std::string why = why_unusable();
  if (!why.empty()) MESSAGE("SKIPPED: no test with real interfaces: ", why);
  return why.empty();
}

// A mount of /sys shows the interfaces of the namespace that it was made in.
static void own_mounts() {
  static const bool done =
      ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  REQUIRE(done);
}

Namespace::Namespace() {
  own_mounts();
  before_ = value_of(sys::open("/proc/self/ns/net", O_RDONLY));
  REQUIRE(::unshare(CLONE_NEWNET) == 0);
  require_ok(sys::raise_loopback());
  handle_ = value_of(sys::open("/proc/self/ns/net", O_RDONLY));
  socket_ = value_of(NetlinkSocket::open());
  REQUIRE(::mount("sysfs", "/sys", "sysfs", 0, nullptr) == 0);
}

Namespace::~Namespace() {
  ::umount2("/sys", MNT_DETACH);
  ::setns(before_.get(), CLONE_NEWNET);
}

void Namespace::inside(const std::function<void()>& work) const {
  const Fd now = value_of(sys::open("/proc/self/ns/net", O_RDONLY));
  REQUIRE(::setns(handle_.get(), CLONE_NEWNET) == 0);
  work();
  REQUIRE(::setns(now.get(), CLONE_NEWNET) == 0);
}

TestFolder::TestFolder() : path_("/tmp/lambdo-net-test-XXXXXX") {
  REQUIRE(::mkdtemp(path_.data()) != nullptr);
}

TestFolder::~TestFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void require_ok(const Result<>& result) {
  if (!result) fail_test(result.error());
}

void fail_test(const Error& error) {
  FAIL(error.message);
  std::unreachable();
}

}  // namespace lambdo::net
