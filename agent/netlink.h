#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

/// As much of netlink(7) as setting up an interface takes.
namespace lambdo::agent {

/// A request: nlmsghdr, the family's own header, attributes.
class NetlinkMessage {
 public:
  /// `flags` beside NLM_F_REQUEST; `header` is what the family wants first, ifinfomsg for one.
  template <typename Header>
  NetlinkMessage(uint16_t type, uint16_t flags, const Header& header) {
    const nlmsghdr message{.nlmsg_len = 0, .nlmsg_type = type, .nlmsg_flags = flags};
    append({reinterpret_cast<const char*>(&message), sizeof message});
    append({reinterpret_cast<const char*>(&header), sizeof header});
  }

  void put(uint16_t attribute, std::string_view value);
  void put_u32(uint16_t attribute, uint32_t value);

 private:
  friend class Netlink;
  void append(std::string_view bytes);

  std::string bytes_;
};

/// One answer of a dump.
class NetlinkPart {
 public:
  NetlinkPart(uint16_t type, std::string payload) : type_(type), payload_(std::move(payload)) {}

  [[nodiscard]] uint16_t type() const { return type_; }
  /// The family's own header; nullopt where the answer is too short for it.
  template <typename Header>
  [[nodiscard]] std::optional<Header> header() const {
    Header header;
    if (payload_.size() < sizeof header) return std::nullopt;
    std::memcpy(&header, payload_.data(), sizeof header);
    return header;
  }
  /// An attribute's value behind a header of `header_bytes`; nullopt where it is not there.
  [[nodiscard]] std::optional<std::string_view> attribute(size_t header_bytes, uint16_t wanted) const;

 private:
  uint16_t type_;
  std::string payload_;
};

/// A socket of rtnetlink(7), for one request at a time.
class Netlink {
 public:
  static Result<Netlink> open();

  /// Makes a change and waits for the kernel's word. An error has `what` and the kernel's own explanation.
  Result<> change(NetlinkMessage message, std::string_view what);
  Result<std::vector<NetlinkPart>> dump(NetlinkMessage message, std::string_view what);

 private:
  explicit Netlink(Fd socket) : socket_(std::move(socket)) {}
  Result<> send(NetlinkMessage& message, uint16_t flags, std::string_view what);
  /// Takes answers until the one that ends the request, whose errors it gives.
  Result<> receive(std::vector<NetlinkPart>& parts, std::string_view what);

  Fd socket_;
  uint32_t sequence_ = 0;
};

}  // namespace lambdo::agent
