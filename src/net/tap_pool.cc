#include "net/tap_pool.h"

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

TapPool::TapPool(Link bridge, std::string prefix, size_t size)
    : bridge_(std::move(bridge)), prefix_(std::move(prefix)), size_(std::max<size_t>(size, 1)) {}

Result<Port> TapPool::make(NetlinkSocket& socket) {
  for (int i = 0; i < kMaxTaken; ++i) {
    next_number_ = (next_number_ + 1) % kNumbers;
    const std::string name = prefix_ + std::to_string(next_number_);
    auto tap = create_tap({.name = name});
    // A guest that is still there, or one of a server that was killed a moment ago and is not quite gone.
    if (!tap && (tap.error().os_errno == EBUSY || tap.error().os_errno == EEXIST)) continue;
    if (!tap) return std::unexpected(tap.error());
    Port port{std::move(*tap), TRY(find_link(socket, name))};
    TRY(disable_ipv6(socket, port.link));
    TRY(set_master(socket, port.link, bridge_.index));
    TRY(set_port_flags(socket, port.link, {}));
    TRY(set_up(socket, port.link, true));
    return port;
  }
  return fail(Code::resource_exhausted, "no name is free for a TAP: " + std::to_string(kMaxTaken) +
                                            " in a row from " + prefix_ + std::to_string(next_number_) +
                                            " are taken");
}

Result<> TapPool::fill(NetlinkSocket& socket) {
  while (ready_.size() < size_) ready_.push_back(TRY(make(socket)));
  return wait_until_running(socket, bridge_, kCarrierLimitMs);
}

Result<Port> TapPool::take(NetlinkSocket& socket) {
  if (ready_.empty()) return make(socket);
  Port port = std::move(ready_.front());
  ready_.pop_front();
  return port;
}

}  // namespace lambdo::net
