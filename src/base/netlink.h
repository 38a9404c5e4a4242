#pragma once

#include <linux/netlink.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/ip.h"
#include "base/mac_address.h"

/// Messages to the kernel and its answers (netlink(7)), for the host's network and for the interface that the
/// agent sets up in a guest. It is not libmnl's, of which the distribution has no static library for the
/// agent.
namespace lambdo {

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
  NetlinkMessage& put_bytes(uint16_t type, std::string_view bytes);
  NetlinkMessage& put_u8(uint16_t type, uint8_t value);
  NetlinkMessage& put_u32(uint16_t type, uint32_t value);
  NetlinkMessage& put_ip(uint16_t type, const IpAddress& address);
  NetlinkMessage& put_mac(uint16_t type, MacAddress mac);
  /// Attributes up to the matching `end` are inside of this one.
  nlattr* begin(uint16_t type);
  void end(nlattr* nest);
  /// A fixed part within an attribute, as VETH_INFO_PEER has it. Zeroed.
  void* extend(size_t len_bytes);

 private:
  friend class NetlinkSocket;
  [[nodiscard]] nlmsghdr& header() { return *reinterpret_cast<nlmsghdr*>(buffer_.data()); }

  // The messages here name one object each and stay far below.
  static constexpr size_t kMaxBytes = 4096;
  alignas(nlmsghdr) std::array<std::byte, kMaxBytes> buffer_{};
};

/// An attribute of an answer. What has another length than its type gives the type's default.
struct NetlinkAttribute {
  uint16_t type = 0;  ///< without the flags of nesting and byte order
  std::string_view payload;

  [[nodiscard]] std::string text() const;  ///< up to its NUL, if it has one
  [[nodiscard]] uint32_t u32() const;
  [[nodiscard]] MacAddress mac() const;
  [[nodiscard]] std::optional<IpAddress> ip() const { return IpAddress::from_bytes(payload); }
};

/// Takes the first attribute off `bytes`, those of an answer or of a nest. None at the end, and where what is
/// left is cut off.
std::optional<NetlinkAttribute> take_attribute(std::string_view& bytes);

/// One of the kernel's answers, while `each` is called.
struct NetlinkAnswer {
  uint16_t type = 0;  ///< RTM_NEWLINK and the like
  std::string_view payload;

  /// A copy of the family's fixed part; zeros where the answer is too short for it.
  template <typename Part>
  [[nodiscard]] Part fixed_part() const {
    Part part{};
    if (payload.size() >= sizeof part) payload.copy(reinterpret_cast<char*>(&part), sizeof part);
    return part;
  }
  /// What follows a fixed part of that length, for take_attribute().
  [[nodiscard]] std::string_view attributes(size_t fixed_bytes) const;
};

/// A socket to a part of the kernel, in the network namespace in which the calling thread was when it was
/// opened. Not for several threads at a time. All calls may block: creating and deleting interfaces waits for
/// the kernel's RTNL lock and for RCU, up to hundreds of milliseconds. They belong into a BlockingPool or a
/// process of their own, never on the reactor.
class NetlinkSocket {
 public:
  using Each = std::function<void(const NetlinkAnswer&)>;

  /// Where `limit_ms` is not 0, an answer that takes longer is an error.
  static Result<NetlinkSocket> open(int protocol = NETLINK_ROUTE, int limit_ms = 0);

  /// Sends and waits for the kernel's yes or no. `what` says what was asked for ("create bridge lambdo0") and
  /// starts the error's message, which has the kernel's own words too where it gave some. `os_errno` tells
  /// EEXIST, ENODEV and their like; ENODEV and ENOENT are Code::not_found. `each` gets what the kernel
  /// answers beside.
  Result<> request(NetlinkMessage& message, std::string_view what, const Each& each = {});
  /// Sends a request to list things and calls `each` for every answer. Starts over where the list changed
  /// meanwhile, after `restart`.
  Result<> dump(NetlinkMessage& message, std::string_view what, const Each& each,
                const std::function<void()>& restart);

 private:
  explicit NetlinkSocket(Fd socket) : socket_(std::move(socket)) {}

  Result<> send(NetlinkMessage& message, uint16_t flags, std::string_view what);
  /// Takes answers up to the one that ends the request, and gives that one's error. `interrupted` says
  /// whether a list changed while it was read.
  Result<> receive(std::string_view what, const Each& each, bool& interrupted);

  Fd socket_;
  uint32_t sequence_ = 0;
};

}  // namespace lambdo
