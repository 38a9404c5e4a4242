#include "net/tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/syscalls.h"
#include "net/link.h"

namespace lambdo::net {

static Result<> configure(int fd, unsigned long request, const void* argument, const std::string& what) {
  if (::ioctl(fd, request, argument) < 0) return fail_errno(what);
  return {};
}

static Result<Fd> attach(const std::string& name, int flags) {
  TRY(check_link_name(name));
  auto opened = sys::open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  if (!opened) {
    return std::unexpected(
        std::move(opened).error().with_code(Code::unavailable).with_context("TAP " + name + " needs it"));
  }
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags);
  TRY(configure(opened->get(), TUNSETIFF, &request, "TAP " + name));
  const int header_bytes = 12;
  TRY(configure(opened->get(), TUNSETVNETHDRSZ, &header_bytes, "header size of TAP " + name));
  const int little_endian = 1;
  TRY(configure(opened->get(), TUNSETVNETLE, &little_endian, "byte order of TAP " + name));
  return std::move(*opened);
}

// TUNSETOWNER and TUNSETPERSIST take their number in the argument's place.
static Result<> set_number(int fd, unsigned long request, unsigned long number, const std::string& what) {
  if (::ioctl(fd, request, number) < 0) return fail_errno(what);
  return {};
}

Result<Fd> create_tap(const TapOptions& options) {
  // Without the flag an interface of the same name that nobody has open would be taken instead.
  Fd tap = TRY(attach(options.name, IFF_TUN_EXCL));
  if (options.owner) {
    TRY(set_number(tap.get(), TUNSETOWNER, *options.owner, "owner of TAP " + options.name));
  }
  if (options.persistent) TRY(set_tap_persistent(tap, true));
  return tap;
}

Result<Fd> open_tap(const std::string& name) {
  return attach(name, 0);
}

Result<> set_tap_persistent(const Fd& tap, bool persistent) {
  return set_number(tap.get(), TUNSETPERSIST, persistent ? 1 : 0, "persistence of a TAP");
}

}  // namespace lambdo::net
