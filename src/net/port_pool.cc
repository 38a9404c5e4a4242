#include "net/port_pool.h"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "base/sha256.h"
#include "base/text.h"
#include "net/tap.h"

namespace lambdo::net {

namespace {

// Names of 15 characters leave 7 digits behind the prefix.
constexpr uint32_t kNumbers = 10'000'000;
constexpr int kMaxTaken = 4096;
constexpr int kCarrierLimitMs = 5000;

}  // namespace

std::string port_prefix(const std::string& bridge) {
  const Sha256::Value hash = Sha256::of(std::as_bytes(std::span(bridge)));
  std::string prefix = "l";
  for (int i = 0; i < 3; ++i) {
    const std::string digits = hex(0x100 + static_cast<uint64_t>(hash[i]));
    prefix += digits.substr(digits.size() - 2);
  }
  return prefix + "t";
}

PortPool::PortPool(Link bridge, std::string prefix, PortKind kind, size_t size, bool ipv6)
    : bridge_(std::move(bridge)),
      prefix_(std::move(prefix)),
      kind_(kind),
      size_(std::max<size_t>(size, 1)),
      ipv6_(ipv6) {}

Result<Port> PortPool::make_named(NetlinkSocket& socket, const std::string& name) const {
  Port port;
  if (kind_ == PortKind::tap) {
    port.end = TRY(create_tap({.name = name}));
    port.link = TRY(find_link(socket, name));
    return port;
  }
  port.inside = TRY(GuestNamespace::create(ipv6_));
  port.link = TRY(port.inside->add_interface(socket, name, bridge_.mtu));
  port.end = port.inside->take_handle();
  return port;
}

Result<Port> PortPool::make(NetlinkSocket& socket) {
  for (int i = 0; i < kMaxTaken; ++i) {
    next_number_ = (next_number_ + 1) % kNumbers;
    const std::string name = prefix_ + std::to_string(next_number_);
    auto made = make_named(socket, name);
    // A guest that is still there, or one of a server that was killed a moment ago and is not quite gone.
    if (!made && (made.error().os_errno == EBUSY || made.error().os_errno == EEXIST)) continue;
    if (!made) return std::unexpected(made.error());
    TRY(disable_ipv6(socket, made->link));
    TRY(set_master(socket, made->link, bridge_.index));
    TRY(set_port_flags(socket, made->link, {}));
    TRY(set_up(socket, made->link, true));
    return std::move(*made);
  }
  return fail(Code::resource_exhausted, "no name is free for a guest's port: " + std::to_string(kMaxTaken) +
                                            " in a row from " + prefix_ + std::to_string(next_number_) +
                                            " are taken");
}

Result<> PortPool::fill(NetlinkSocket& socket) {
  while (!full()) TRY(fill_one(socket));
  return wait_until_running(socket, bridge_, kCarrierLimitMs);
}

Result<> PortPool::fill_one(NetlinkSocket& socket) {
  if (!full()) ready_.push_back(TRY(make(socket)));
  return {};
}

Result<Port> PortPool::take(NetlinkSocket& socket) {
  if (ready_.empty()) return make(socket);
  Port port = std::move(ready_.front());
  ready_.pop_front();
  return port;
}

}  // namespace lambdo::net
