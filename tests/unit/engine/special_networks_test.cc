#include "base/special_networks.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "http/client/private_address.h"
#include "net/policy.h"
#include "net/policy_text.h"
#include "net/ruleset.h"

#include "test.h"

namespace lambdo {

/// Whether "{ 10.0.0.0/8, 192.0.2.0/24 }", "10.0.0.0/8" or "!= 2000::/3" of a rule is about the address.
static bool matches(std::string_view networks, const IpAddress& address) {
  const bool negated = networks.starts_with("!= ");
  if (negated) networks.remove_prefix(3);
  const bool found = std::ranges::any_of(split_nonempty(networks, ','), [&](std::string_view each) {
    return IpSubnet::parse(trimmed(each, " {}"))->contains(address);
  });
  return found != negated;
}

/// What the first rule says whose only condition is a destination that the address is: "refuse" or "permit".
static std::string_view verdict_of(std::string_view rules, const IpAddress& address) {
  const std::string_view condition = address.is_ipv6() ? "ip6 daddr " : "ip daddr ";
  for (std::string_view line : split_nonempty(rules, '\n')) {
    line = trimmed(line);
    const size_t end = line.find(" goto ");
    if (!line.starts_with(condition) || end == std::string_view::npos) continue;
    const std::string_view networks = line.substr(condition.size(), end - condition.size());
    if (networks.contains(" saddr ")) continue;
    if (matches(networks, address)) return line.substr(end + 6);
  }
  return "";
}

/// The table's networks are refused by whom: the client that keeps to public addresses, the policy of guests
/// that have the public Internet only, the rules for all guests.
static std::string refused_by(const IpAddress& address) {
  const net::Policy policy = net::policy_of({.access = net::Policy::Access::egress});
  const std::string ruleset = net::base_ruleset({.bridge = "lambdo0", .port_prefix = "l", .ipv6 = true});
  const std::string_view from_guest = std::string_view(ruleset).substr(ruleset.find("chain from_guest"));
  std::string who;
  if (http::is_private(address)) who += " client";
  if (verdict_of(net::policy_rules(policy, true), address) == "refuse") who += " policy";
  if (verdict_of(from_guest.substr(0, from_guest.find("chain to_guest")), address) == "refuse")
    who += " rules";
  return who.empty() ? "nobody" : who.substr(1);
}

/// An address of the row's network, and of no row's within it: the last one, or the one for 8.8.8.8.
static IpAddress sample_of(const SpecialNetwork& row) {
  std::string bytes = row.network.address.bytes();
  for (size_t bit = row.network.prefix_len; !row.ipv4_at && bit < row.network.address.bits(); ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] | 0x80 >> bit % 8);
  }
  if (row.ipv4_at) bytes.replace(*row.ipv4_at, 4, "\x08\x08\x08\x08");
  return IpAddress::from_bytes(bytes).value();
}

TEST_CASE("who refuses which special network") {
  const std::map<std::string, std::string> expected = {
      {"0.0.0.0/8", "client rules"},
      {"10.0.0.0/8", "client policy"},
      {"100.64.0.0/10", "client policy"},
      {"100.100.100.200/32", "client policy rules"},
      {"127.0.0.0/8", "client rules"},
      {"168.63.129.16/32", "rules"},
      {"169.254.0.0/16", "client rules"},
      {"172.16.0.0/12", "client policy"},
      {"192.0.0.0/24", "client policy"},
      {"192.0.0.192/32", "client policy rules"},
      {"192.0.2.0/24", "client policy"},
      {"192.88.99.0/24", "policy"},
      {"192.168.0.0/16", "client policy"},
      {"198.18.0.0/15", "client policy"},
      {"198.51.100.0/24", "client policy"},
      {"203.0.113.0/24", "client policy"},
      {"224.0.0.0/4", "client rules"},
      {"240.0.0.0/4", "client rules"},
      // The client judges these four by the IPv4 address in them, which is a public one here.
      {"::/96", "policy rules"},
      {"::ffff:0.0.0.0/96", "policy rules"},
      {"64:ff9b::/96", "policy rules"},
      {"2002::/16", "rules"},
      {"::/128", "client policy rules"},
      {"::1/128", "client policy rules"},
      {"64:ff9b:1::/48", "client policy rules"},
      {"100::/64", "client policy"},
      {"2001::/23", "client policy"},
      {"2001::/32", "client policy rules"},
      {"2001:db8::/32", "client policy"},
      {"3fff::/20", "client policy"},
      {"fc00::/7", "client policy"},
      {"fd00:42::42/128", "client policy rules"},
      {"fd00:100::100:200/128", "client policy rules"},
      {"fd00:a9fe:a9fe::1/128", "client policy rules"},
      {"fd00:c1::a9fe:a9fe/128", "client policy rules"},
      {"fd00:ec2::/32", "client policy rules"},
      {"fd20:ce::254/128", "client policy rules"},
      {"fe80::/10", "client policy rules"},
      {"fec0::/10", "client policy"},
      {"ff00::/8", "client policy rules"},
  };
  size_t rows = 0;
  for (const SpecialNetwork& row : special_networks()) {
    const std::string network = row.network.text();
    CAPTURE(network);
    REQUIRE(expected.contains(network));
    CHECK_EQ(refused_by(sample_of(row)), expected.at(network));
    ++rows;
  }
  CHECK_EQ(rows, expected.size());
}

TEST_CASE("nobody refuses addresses beside the special networks") {
  for (const char* text :
       {"1.1.1.1",         "9.255.255.255",   "11.0.0.0",       "100.63.255.255",  "100.128.0.0",
        "126.255.255.255", "128.0.0.0",       "168.63.129.15",  "169.253.255.255", "169.255.0.0",
        "172.15.255.255",  "172.32.0.0",      "192.0.1.0",      "192.0.3.0",       "192.88.98.255",
        "192.167.255.255", "192.169.0.0",     "198.17.255.255", "198.20.0.0",      "203.0.114.0",
        "223.255.255.255", "2000::1",         "2001:200::1",    "2001:db7::1",     "2001:db9::1",
        "2003::1",         "2606:4700::1111", "3ffe::1",        "3fff:1000::1"}) {
    CAPTURE(text);
    CHECK_EQ(refused_by(*IpAddress::parse(text)), "nobody");
  }
  // Nothing else of IPv6 is public.
  for (const char* text : {"4000::1", "1fff::1", "5f00::1", "e000::1"}) {
    CHECK_EQ(refused_by(*IpAddress::parse(text)), "client policy");
  }
}

}  // namespace lambdo
