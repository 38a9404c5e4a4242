#include "net/firewall.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/syscalls.h"
#include "net/link.h"

namespace lambdo::net {

namespace {

std::string identity_of(const std::string& port, const Lease& lease) {
  return "{ \"" + port + "\" . " + lease.mac.text() + " . " + lease.address.text() + " }\n";
}

std::string ipv6_identity_of(const std::string& port, const Lease& lease) {
  return "{ \"" + port + "\" . " + lease.mac.text() + " . " + lease.ipv6->text() + " }\n";
}

std::string chain_name(uint64_t number) {
  return "policy_" + std::to_string(number);
}

// Never 0, which is no mark, and none of the small numbers and low bits that others mark connections with.
constexpr uint32_t kMarkBit = uint32_t{1} << 31;

/// At random: the kernel may still know connections of guests that another process had.
Result<uint32_t> first_mark() {
  uint32_t mark = 0;
  TRY(sys::random_bytes(std::as_writable_bytes(std::span(&mark, 1))));
  return mark | kMarkBit;
}

struct Counter {
  uint64_t packets = 0;
  uint64_t bytes = 0;
};

/// The number behind `word` in `text`, which is cut off up to there.
std::optional<uint64_t> number_after(std::string_view& text, std::string_view word) {
  const size_t at = text.find(word);
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(at + word.size());
  uint64_t value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) return std::nullopt;
  return value;
}

/// The next "counter packets 1 bytes 2".
std::optional<Counter> next_counter(std::string_view& text) {
  const auto packets = number_after(text, "counter packets ");
  const auto bytes = number_after(text, " bytes ");
  if (!packets || !bytes) return std::nullopt;
  return Counter{*packets, *bytes};
}

}  // namespace

Result<Firewall> Firewall::install(FirewallSettings settings) {
  TRY(check_link_name(settings.bridge));
  TRY(check_link_name(settings.port_prefix));
  Firewall firewall(std::move(settings), TRY(Nftables::open()), TRY(Conntrack::open()), TRY(first_mark()));
  const std::string what = "rules for the guests of bridge " + firewall.settings_.bridge;
  TRY(firewall.nftables_.run(base_ruleset(firewall.settings_), what));
  // Nobody has the mark yet: whether the kernel can, before there are guests.
  if (auto can = firewall.conntrack_.forget(firewall.next_mark_); !can) {
    static_cast<void>(firewall.remove());
    return std::unexpected(std::move(can).error().with_context(what));
  }
  return firewall;
}

std::string Firewall::elements(const char* verb, const std::string& port, const GuestRules& guest) const {
  const std::string table = table_name(settings_.bridge) + " ";
  const std::string in_bridge = std::string(verb) + " element bridge " + table;
  const std::string in_inet = std::string(verb) + " element inet " + table;
  const std::string identity = identity_of(port, guest.lease);
  const std::string address = "{ " + guest.lease.address.text() + " }\n";
  std::string commands;
  commands += in_bridge + "spoofed { \"" + port + "\" }\n";
  for (const char* set : {"identities ", "sent ", "received "}) {
    commands += in_bridge;
    commands += set;
    commands += identity;
  }
  commands += in_inet + "guests " + address;
  commands += in_inet + "refused " + address;
  if (guest.lease.ipv6) {
    const std::string ipv6_identity = ipv6_identity_of(port, guest.lease);
    commands += in_bridge + "sent6 " + ipv6_identity + in_bridge + "received6 " + ipv6_identity;
    const std::string ipv6 = "{ " + guest.lease.ipv6->text() + " }\n";
    commands += in_inet + "guests6 " + ipv6 + in_inet + "refused6 " + ipv6;
  }
  commands += mark_elements(verb, guest);
  if (guest.online) commands += online_elements(verb, guest.lease);
  return commands;
}

std::string Firewall::mark_elements(const char* verb, const GuestRules& guest) const {
  const std::string in_inet = std::string(verb) + " element inet " + table_name(settings_.bridge);
  const std::string mark = std::to_string(guest.mark) + " }\n";
  const auto of = [&](const std::string& family, const std::string& address) {
    return in_inet + " marks" + family + " { " + address + " : " + mark + in_inet + " owners" + family +
           " { " + address + " . " + mark;
  };
  std::string commands = of("", guest.lease.address.text());
  if (guest.lease.ipv6) commands += of("6", guest.lease.ipv6->text());
  return commands;
}

std::string Firewall::removal_of_dynamic_elements(const GuestRules& guest) const {
  const std::string table = " element inet " + table_name(settings_.bridge);
  const std::string connections = table + " connections { " + std::to_string(guest.mark) + " }\n";
  const std::string calls = table + " agent_calls { " + guest.lease.address.text() + " }\n";
  // Deleting what is not there is an error; adding what is there is none.
  return "add" + connections + "delete" + connections + "add" + calls + "delete" + calls;
}

std::string Firewall::online_elements(const char* verb, const Lease& lease) const {
  const std::string in_inet = std::string(verb) + " element inet " + table_name(settings_.bridge);
  std::string commands = in_inet + " online { " + lease.address.text() + " }\n";
  if (lease.ipv6) commands += in_inet + " online6 { " + lease.ipv6->text() + " }\n";
  return commands;
}

std::string Firewall::policy_elements(const char* verb, const GuestRules& guest, uint64_t number) const {
  const std::string in_inet = std::string(verb) + " element inet " + table_name(settings_.bridge);
  const std::string verdict = " : goto " + chain_name(number) + " }\n";
  std::string commands = in_inet + " policies { " + guest.lease.address.text() + verdict;
  if (guest.lease.ipv6) commands += in_inet + " policies6 { " + guest.lease.ipv6->text() + verdict;
  return commands;
}

uint64_t Firewall::chain_for(const std::string& rules, std::string& commands) const {
  const auto found = policies_.find(rules);
  if (found != policies_.end()) return found->second.number;
  const std::string chain = table_name(settings_.bridge) + " " + chain_name(next_number_);
  commands += "add chain inet " + chain + "\n";
  for (size_t begin = 0; begin < rules.size();) {
    const size_t end = rules.find('\n', begin);
    commands += "add rule inet " + chain + " " + rules.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  return next_number_;
}

void Firewall::use(const std::string& rules, uint64_t number) {
  Chain& chain = policies_[rules];
  if (number == next_number_) ++next_number_;
  chain.number = number;
  ++chain.users;
}

void Firewall::stop_using(const std::string& rules) {
  Chain& chain = policies_[rules];
  --chain.users;
  chain.last_used = ++uses_;
}

void Firewall::drop_idle_policies() {
  const auto idle = [](const auto& policy) { return policy.second.users == 0; };
  while (static_cast<size_t>(std::ranges::count_if(policies_, idle)) > kMaxIdlePolicies) {
    auto oldest = policies_.end();
    for (auto at = policies_.begin(); at != policies_.end(); ++at) {
      if (!idle(*at)) continue;
      if (oldest == policies_.end() || at->second.last_used < oldest->second.last_used) oldest = at;
    }
    // Its rules let nobody through, so nothing is lost where it stays until all are removed.
    static_cast<void>(nftables_.run(
        "delete chain inet " + table_name(settings_.bridge) + " " + chain_name(oldest->second.number) + "\n",
        "remove a policy that no guest has"));
    policies_.erase(oldest);
  }
}

Result<> Firewall::add_guest(const Guest& guest) {
  TRY(check_link_name(guest.port));
  TRY(check_policy(guest.policy));
  if (!guest.port.starts_with(settings_.port_prefix)) {
    return fail(Code::internal, "interface " + guest.port + " is not a guest's port by its name");
  }
  if (guests_.contains(guest.port))
    return fail(Code::internal, "port " + guest.port + " has a guest already");
  const GuestRules known{guest.lease, policy_rules(guest.policy, settings_.ipv6),
                         guest.policy.access != Policy::Access::none, next_mark_};
  std::string commands;
  const uint64_t number = chain_for(known.rules, commands);
  commands += elements("add", guest.port, known);
  commands += policy_elements("add", known, number);
  TRY(nftables_.run(commands, "rules for the guest at " + guest.port));
  use(known.rules, number);
  next_mark_ = (next_mark_ + 1) | kMarkBit;
  guests_.emplace(guest.port, known);
  return {};
}

Result<> Firewall::remove_guest(const std::string& port) {
  const auto found = guests_.find(port);
  if (found == guests_.end()) return fail(Code::not_found, "port " + port + " has no guest");
  const GuestRules guest = found->second;
  const std::string commands = policy_elements("delete", guest, policies_[guest.rules].number) +
                               elements("delete", port, guest) + removal_of_dynamic_elements(guest);
  TRY(nftables_.run(commands, "remove the rules for the guest at " + port));
  stop_using(guest.rules);
  guests_.erase(found);
  drop_idle_policies();
  // The kernel keeps an open connection for days, and room for all of the machine's together: guests that
  // were killed would fill it.
  return conntrack_.forget(guest.mark);
}

Result<> Firewall::set_policy(const std::string& port, const Policy& policy) {
  TRY(check_policy(policy));
  const auto found = guests_.find(port);
  if (found == guests_.end()) return fail(Code::not_found, "port " + port + " has no guest");
  GuestRules& guest = found->second;
  const bool online = policy.access != Policy::Access::none;
  std::string rules = policy_rules(policy, settings_.ipv6);
  std::string commands;
  const uint64_t number = chain_for(rules, commands);
  commands += policy_elements("delete", guest, policies_[guest.rules].number);
  commands += policy_elements("add", guest, number);
  if (online != guest.online) commands += online_elements(online ? "add" : "delete", guest.lease);
  TRY(nftables_.run(commands, "rules for the guest at " + port));
  use(rules, number);
  stop_using(guest.rules);
  guest.rules = std::move(rules);
  guest.online = online;
  drop_idle_policies();
  return {};
}

Result<TrafficCounters> Firewall::counters(const std::string& port) {
  const auto found = guests_.find(port);
  if (found == guests_.end()) return fail(Code::not_found, "port " + port + " has no guest");
  const std::string table = table_name(settings_.bridge);
  const Lease& lease = found->second.lease;
  const std::string in_bridge = "get element bridge " + table;
  const std::string commands = in_bridge + " sent " + identity_of(port, lease) + in_bridge + " received " +
                               identity_of(port, lease) + in_bridge + " spoofed { \"" + port + "\" }\n" +
                               "get element inet " + table + " refused { " + lease.address.text() + " }\n";
  std::string more;
  if (lease.ipv6) {
    const std::string identity = ipv6_identity_of(port, lease);
    more = in_bridge + " sent6 " + identity + in_bridge + " received6 " + identity + "get element inet " +
           table + " refused6 { " + lease.ipv6->text() + " }\n";
  }
  const std::string what = "counters of the guest at " + port;
  const std::string text = TRY(nftables_.run(commands + more, what));
  std::string_view rest = text;
  std::array<Counter, 7> values;
  for (Counter& value : std::span(values).first(lease.ipv6 ? 7 : 4)) {
    const auto counter = next_counter(rest);
    if (!counter) return fail(Code::internal, what + ": nftables said something else: " + text);
    value = *counter;
  }
  const auto& [sent, received, spoofed, refused, sent6, received6, refused6] = values;
  return TrafficCounters{.sent_packets = sent.packets + sent6.packets,
                         .sent_bytes = sent.bytes + sent6.bytes,
                         .received_packets = received.packets + received6.packets,
                         .received_bytes = received.bytes + received6.bytes,
                         .spoofed_packets = spoofed.packets,
                         .refused_packets = refused.packets + refused6.packets};
}

Result<> Firewall::remove() {
  TRY(nftables_.run(removal(settings_.bridge), "remove the rules of bridge " + settings_.bridge));
  guests_.clear();
  policies_.clear();
  return {};
}

}  // namespace lambdo::net
