#pragma once

#include <linux/netlink.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "base/error.h"

struct mnl_socket;

namespace lambdo::net {

/// A message to the kernel, being written: the header, a family's fixed part, attributes (rtnetlink(7)).
class NetlinkMessage {
 public:
  /// `flags` are NLM_F_CREATE and the like; NLM_F_REQUEST is added.
  NetlinkMessage(uint16_t type, uint16_t flags);

  /// The family's fixed part, zeroed. Once, before the attributes.
  template <typename Part>
  Part& fixed_part() {
    return *static_cast<Part*>(extend(sizeof(Part)));
  }
  NetlinkMessage& put(uint16_t type, std::string_view text);  ///< with its terminating NUL
  NetlinkMessage& put_bytes(uint16_t type, const void* data, size_t len_bytes);
  NetlinkMessage& put_u8(uint16_t type, uint8_t value);
  NetlinkMessage& put_u16(uint16_t type, uint16_t value);
  NetlinkMessage& put_u32(uint16_t type, uint32_t value);
  /// Attributes up to the matching `end` are inside of this one.
  nlattr* begin(uint16_t type);
  void end(nlattr* nest);
  /// A fixed part within an attribute, as VETH_INFO_PEER has it.
  void* extend(size_t len_bytes);

  [[nodiscard]] nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(buffer_.data()); }

 private:
  // The messages here name one object each and stay far below; libmnl checks no bounds but where told to.
  static constexpr size_t kMaxBytes = 4096;
  alignas(nlmsghdr) std::array<std::byte, kMaxBytes> buffer_{};
};

/// A socket to a part of the kernel, in the network namespace in which the calling thread was when it was
/// opened. Not for several threads at a time. All calls may block: creating and
/// deleting interfaces waits for the kernel's RTNL lock and for RCU, up to hundreds of milliseconds. They
/// belong into a BlockingPool or a process of their own, never on the reactor.
class NetlinkSocket {
 public:
  static Result<NetlinkSocket> open(int protocol = NETLINK_ROUTE);

  /// Sends and waits for the kernel's yes or no. `what` says what was asked for ("create bridge lambdo0") and
  /// starts the error's message, which has the kernel's own words too where it gave some. `os_errno` tells
  /// EEXIST, ENODEV and their like; ENODEV and ENOENT are Code::not_found. `each` gets what the kernel
  /// answers beside.
  Result<> request(NetlinkMessage& message, std::string_view what,
                   const std::function<void(const nlmsghdr&)>& each = {});
  /// Sends a request to list things and calls `each` for every answer. Starts over where the list changed
  /// meanwhile, after `restart`.
  Result<> dump(NetlinkMessage& message, std::string_view what,
                const std::function<void(const nlmsghdr&)>& each, const std::function<void()>& restart);

 private:
  struct Close {
    void operator()(mnl_socket* socket) const;
  };
  enum class Dumped { complete, interrupted };

  Result<uint32_t> send(NetlinkMessage& message, uint16_t flags, std::string_view what);
  Result<Dumped> dump_once(NetlinkMessage& message, std::string_view what,
                           const std::function<void(const nlmsghdr&)>& each);

  std::unique_ptr<mnl_socket, Close> socket_;
  uint32_t sequence_ = 0;
};

}  // namespace lambdo::net
