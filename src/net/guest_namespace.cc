#include "net/guest_namespace.h"

#include <fcntl.h>
#include <sched.h>

#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/sockets.h"
#include "base/syscalls.h"
#include "net/addresses.h"
#include "net/mac_of.h"

namespace lambdo::net {

namespace {

constexpr const char* kInterface = "eth0";
// The thread's own: /proc/self shows those of the process's first thread.
constexpr const char* kOwnNamespace = "/proc/thread-self/ns/net";

/// Goes back into a namespace when it ends.
class Return {
 public:
  explicit Return(const Fd& home) : home_(&home) {}
  Return(const Return&) = delete;
  Return& operator=(const Return&) = delete;
  // What goes on in a guest's namespace would do to it what was meant for the host's.
  ~Return() { CHECK(::setns(home_->get(), CLONE_NEWNET) == 0); }

 private:
  const Fd* home_;
};

/// For interfaces that are made from now on. A kernel without IPv6 has nothing to switch off.
Result<> set_ipv6(bool wanted) {
  const std::string folder = "/proc/sys/net/ipv6/conf/default/";
  const auto written = sys::write_file(folder + "disable_ipv6", wanted ? "0" : "1");
  if (!wanted && !written && written.error().os_errno == ENOENT) return {};
  if (!wanted || !written) return written;
  // Mode 1 is IN6_ADDR_GEN_MODE_NONE.
  for (const auto& [name, value] :
       {std::pair("addr_gen_mode", "1"), {"accept_ra", "0"}, {"accept_dad", "0"}}) {
    TRY(sys::write_file(folder + name, value));
  }
  return {};
}

}  // namespace

Result<GuestNamespace> GuestNamespace::create(bool ipv6) {
  const Fd home = TRY(sys::open(kOwnNamespace, O_RDONLY));
  const Return back(home);
  if (::unshare(CLONE_NEWNET) < 0) return fail_errno("new network namespace for a guest");
  TRY(sys::raise_loopback());
  TRY(set_ipv6(ipv6));
  Fd handle = TRY(sys::open(kOwnNamespace, O_RDONLY));
  return GuestNamespace(std::move(handle), TRY(NetlinkSocket::open()));
}

Result<Link> GuestNamespace::add_interface(NetlinkSocket& host, const std::string& name, uint32_t mtu) {
  // The host's end has an address that nobody uses.
  const VethEnd near{name, TRY(random_mac())};
  const VethEnd far{kInterface, TRY(random_mac())};
  Link outer = TRY(create_veth(host, near, far, handle_));
  const Link inner = TRY(find_link(socket_, kInterface));
  if (mtu != inner.mtu) {
    TRY(set_mtu(host, outer, mtu));
    TRY(set_mtu(socket_, inner, mtu));
  }
  TRY(set_up(socket_, inner, true));
  return outer;
}

Result<> GuestNamespace::set_address(const GuestAddress& address) {
  const Link link = TRY(find_link(socket_, kInterface));
  TRY(set_mac(socket_, link, address.lease.mac));
  TRY(add_address(socket_, link, Ipv4Subnet{address.lease.address, address.prefix_len}));
  TRY(set_neighbour(socket_, link, address.gateway, address.gateway_mac));
  TRY(add_route(socket_, {Ipv4Subnet{{}, 0}, address.gateway, link.index}));
  if (!address.ipv6) return {};
  TRY(add_address(socket_, link, address.ipv6->address));
  TRY(set_neighbour(socket_, link, address.ipv6->gateway, address.ipv6->gateway_mac));
  return add_route(socket_, {Ipv6Subnet{{}, 0}, address.ipv6->gateway, link.index});
}

}  // namespace lambdo::net
