#include "net/address_pool.h"

#include <string>

#include "base/check.h"
#include "net/mac_of.h"

namespace lambdo::net {

AddressPool::AddressPool(Ipv4Subnet bridge, MacAddress bridge_mac, long long quarantine_ns,
                         std::optional<Ipv6Subnet> ipv6)
    : bridge_(bridge),
      bridge_mac_(bridge_mac),
      quarantine_ns_(quarantine_ns),
      ipv6_(ipv6),
      capacity_((uint64_t{1} << (32 - bridge.prefix_len)) - 3),
      cursor_(bridge.network().value) {
  CHECK(bridge.prefix_len >= 1 && bridge.prefix_len <= 30);
  CHECK(bridge.address != bridge.network() && bridge.address != bridge.broadcast());
}

void AddressPool::end_quarantines(long long now_ns) {
  while (!quarantined_.empty() && now_ns - quarantined_.front().since_ns >= quarantine_ns_) {
    taken_.erase(quarantined_.front().lease.address);
    macs_.erase(quarantined_.front().lease.mac);
    quarantined_.pop_front();
  }
}

// In turn, and not the lowest that is free: an address comes round again as late as it can.
Ipv4Address AddressPool::next_address() {
  do {
    ++cursor_;
    if (cursor_ >= bridge_.broadcast().value) cursor_ = bridge_.network().value + 1;
  } while (cursor_ == bridge_.address.value || taken_.contains({cursor_}));
  return {cursor_};
}

Result<Lease> AddressPool::take(std::string_view identity, long long now_ns) {
  end_quarantines(now_ns);
  if (taken_.size() >= capacity_) {
    return fail(Code::resource_exhausted, "all " + std::to_string(capacity_) + " addresses of " +
                                              bridge_.text() + " are taken, " +
                                              std::to_string(quarantined_.size()) +
                                              " of them until they have rested; a larger network has more");
  }
  Lease lease{next_address(), mac_of(identity), std::nullopt};
  if (ipv6_) lease.ipv6 = address_in(*ipv6_, lease.address);
  for (uint32_t attempt = 1; lease.mac == bridge_mac_ || macs_.contains(lease.mac); ++attempt) {
    lease.mac = mac_of(identity, attempt);
  }
  taken_.insert(lease.address);
  macs_.insert(lease.mac);
  return lease;
}

void AddressPool::give_back(const Lease& lease, long long now_ns) {
  CHECK(taken_.contains(lease.address) && macs_.contains(lease.mac));
  quarantined_.push_back({lease, now_ns});
}

}  // namespace lambdo::net
