#include "net/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/check.h"

namespace lambdo::net {

Result<Conntrack> Conntrack::open() {
  return Conntrack(TRY(NetlinkSocket::open(NETLINK_NETFILTER)));
}

// A deletion that names no connection is one of all that match (ctnetlink_flush_conntrack), by mark since
// Linux 4.0. By source address it would be since 6.12 only.
Result<> Conntrack::forget(uint32_t mark) {
  // That of everything that nobody has marked.
  CHECK(mark != 0);
  NetlinkMessage message((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE, 0);
  auto& part = message.fixed_part<nfgenmsg>();
  part.nfgen_family = AF_UNSPEC;
  part.version = NFNETLINK_V0;
  message.put_u32(CTA_MARK, htonl(mark)).put_u32(CTA_MARK_MASK, ~uint32_t{0});
  auto forgotten = socket_.request(message, "forget a guest's connections");
  // nfnetlink's answer where nobody has the subsystem.
  if (forgotten || forgotten.error().os_errno != EINVAL) return forgotten;
  Error error = std::move(forgotten).error();
  error.code = Code::unavailable;
  error.message += ": the kernel needs CONFIG_NF_CT_NETLINK (nf_conntrack_netlink)";
  return std::unexpected(std::move(error));
}

}  // namespace lambdo::net
