#include "virtio_net/tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <limits>
#include <string>
#include <utility>

#include "base/syscalls.h"
#include "base/text.h"
#include "virtio_net/frame.h"

namespace lambdo::virtio_net {

static Result<> set_non_blocking(const Fd& fd) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) < 0) return fail_errno("fcntl O_NONBLOCK");
  return {};
}

Result<Tap> Tap::adopt(Fd fd) {
  ifreq request{};
  if (::ioctl(fd.get(), TUNGETIFF, &request) < 0) return fail_errno("TUNGETIFF");
  // IFF_NO_PI cannot be seen here: the same bit tells that there is no filter.
  constexpr unsigned kMeant = IFF_TAP | IFF_VNET_HDR;
  const auto flags = static_cast<unsigned short>(request.ifr_flags);
  if ((flags & kMeant) != kMeant) {
    return fail(Code::invalid_argument, "not a TAP with IFF_VNET_HDR, its flags are " + hex(flags));
  }
  int header_bytes = 0;
  if (::ioctl(fd.get(), TUNGETVNETHDRSZ, &header_bytes) < 0) return fail_errno("TUNGETVNETHDRSZ");
  if (header_bytes != static_cast<int>(kHeaderBytes)) {
    return fail(Code::invalid_argument, "the TAP's frames have headers of " + std::to_string(header_bytes) +
                                            " bytes, not " + std::to_string(kHeaderBytes));
  }
  // So no write ever waits, and frames written one after the other stay in that order. It is what a TAP
  // starts with; what receivers do not take they drop themselves.
  const int send_bytes = std::numeric_limits<int>::max();
  if (::ioctl(fd.get(), TUNSETSNDBUF, &send_bytes) < 0) return fail_errno("TUNSETSNDBUF");
  TRY(set_non_blocking(fd));
  return Tap(std::move(fd), true);
}

Result<Tap> Tap::of_socket(Fd fd) {
  TRY(set_non_blocking(fd));
  return Tap(std::move(fd), false);
}

Result<> Tap::set_offloads(uint64_t features) const {
  if (!is_tap_) return {};
  unsigned offloads = 0;
  if ((features & feature::kGuestCsum) != 0) offloads |= TUN_F_CSUM;
  if ((features & feature::kGuestTso4) != 0) offloads |= TUN_F_TSO4;
  if ((features & feature::kGuestTso6) != 0) offloads |= TUN_F_TSO6;
  if ((features & feature::kGuestEcn) != 0) offloads |= TUN_F_TSO_ECN;
  if (::ioctl(fd_.get(), TUNSETOFFLOAD, offloads) < 0) return fail_errno("TUNSETOFFLOAD");
  return {};
}

Result<std::optional<size_t>> Tap::read(std::span<const iovec> parts) const {
  return sys::read_now(fd_.get(), parts);
}

}  // namespace lambdo::virtio_net
