#include <string>

#include "config/config.h"

#include "test.h"

// What guests may do on the network: `network` and languages[].network.
namespace lambdo::config {

using Access = net::Policy::Access;

static const std::string kHead = "apiVersion: lambdo.io/v1alpha1\nkind: Config\n";  // lines 1 and 2
static const std::string kLanguages = "languages: [{name: a, steps: [{command: x}]}]\n";

static std::string with_language_network(const std::string& network) {
  return kHead + "languages:\n- name: a\n  steps: [{command: x}]\n  network: " + network + "\n";
}

TEST_CASE("without a word on it nobody has a network") {
  const Config config = parse_config(kHead + kLanguages, "c").value();
  CHECK(config.network.requests == Access::none);
  CHECK(config.languages[0].network.access == Access::none);
  CHECK_FALSE(config.network.resolvers.has_value());
  CHECK(config.network.limits == net::GuestLimits{256, 0, 50'000});
  CHECK_EQ(config.network.quarantine_ms, 30'000);
  CHECK_FALSE(config.gives_network());
}

TEST_CASE("a language's network is a word or a map") {
  const auto policy = [](const std::string& network) {
    return parse_config(with_language_network(network), "c").value().languages[0].network;
  };
  CHECK(policy("none").access == Access::none);
  CHECK(policy("full") == net::Policy{.access = Access::full});
  const net::Policy egress = policy("egress");
  CHECK(egress.public_only);
  CHECK_EQ(egress.allowed.at(0).to.text(), "0.0.0.0/0");
  CHECK_EQ(egress.allowed.at(1).to.text(), "::/0");
  CHECK(policy("{access: egress}") == egress);
  const net::Policy chosen = policy(R"({access: egress, denied: [198.51.100.0/24],
    allowed: [203.0.113.0/24, {to: 0.0.0.0/0, protocol: tcp, ports: 80-443}, {to: 1.2.3.4, protocol: udp, ports: 53}]})");
  CHECK_FALSE(chosen.public_only);
  CHECK_EQ(chosen.denied.at(0).text(), "198.51.100.0/24");
  REQUIRE_EQ(chosen.allowed.size(), 3);
  CHECK_EQ(chosen.allowed[1].last_port, 443);
  CHECK_EQ(chosen.allowed[2].first_port, 53);
  CHECK(parse_config(with_language_network("egress"), "c").value().gives_network());
}

TEST_CASE("what is wrong with a network is an error with its line, what is unknown a warning") {
  const struct {
    const char* network;
    const char* problem;
  } cases[] = {
      {"open", "languages[0].network: \"open\" is not an access to the network; write none, egress or full"},
      {"[egress]", "languages[0].network: must be text, not a list"},
      {"{allowed: [1.2.3.4]}", "languages[0].network.access: is missing"},
      {"{access: full, allowed: [1.2.3.4]}", "languages[0].network: allowed is for egress only"},
      {"{access: none, denied: [1.2.3.4]}", "languages[0].network: denied is for egress and full only"},
      {"{access: egress, allowed: []}", "languages[0].network.allowed: is an empty list"},
      {"{access: egress, allowed: [1.2.3]}", "languages[0].network.allowed[0]: \"1.2.3\" is not a network"},
      {"{access: egress, denied: ['::/0', 'fe80::%1']}",
       "languages[0].network.denied[1]: \"fe80::%1\" is not a network"},
      {"{access: egress, allowed: [{protocol: tcp}]}", "languages[0].network.allowed[0].to: is missing"},
      {"{access: egress, allowed: [{to: 1.2.3.4, ports: 80}]}",
       "languages[0].network.allowed[0].ports: ports are of a protocol"},
      {"{access: egress, allowed: [{to: 1.2.3.4, protocol: tcp, ports: 2-1}]}",
       "languages[0].network.allowed[0].ports: \"2-1\" are not ports"},
      {"{access: egress, allowed: [{to: 1.2.3.4, protocol: sctp}]}",
       "languages[0].network.allowed[0].protocol: \"sctp\" is not a protocol"},
  };
  for (const auto& [network, problem] : cases) {
    CAPTURE(network);
    const auto config = parse_config(with_language_network(network), "c");
    REQUIRE_FALSE(config);
    CHECK_MESSAGE(config.error().message.starts_with("c:6: " + std::string(problem)), config.error().message);
  }
  const auto with_resolver = [](const std::string& resolver) {
    return parse_config(kHead + kLanguages + "network: {resolvers: [" + resolver + "]}\n", "c");
  };
  for (const char* resolver : {"127.0.0.53", "0.0.0.0", "224.0.0.251", "255.255.255.255"}) {
    CAPTURE(resolver);
    const auto refused = with_resolver(resolver);
    REQUIRE_FALSE(refused);
    CHECK_NE(
        refused.error().message.find("c:4: network.resolvers[0]: \"" + std::string(resolver) + "\" is not"),
        std::string::npos);
  }
  // Clouds have theirs there.
  for (const char* resolver : {"169.254.169.254", "168.63.129.16"}) CHECK(with_resolver(resolver));
  const Config warned = parse_config(with_language_network("{access: egress, alowed: 1}"), "c").value();
  REQUIRE_EQ(warned.warnings.size(), 1);
  CHECK_NE(warned.warnings[0].find("alowed"), std::string::npos);
}

TEST_CASE("IPv6 is a bridge's address that its guests can have neighbours of, and opens lists to it") {
  const auto with = [](const std::string& network) {
    return parse_config(kHead + kLanguages + "network: {" + network + "}\n", "c");
  };
  CHECK_FALSE(with("max_connections: 1").value().network.ipv6);
  const Config config = with(
                            "ipv6: 'fd12:3456:789a:1::1/64', resolvers: [192.0.2.53, '2001:db8::53'], "
                            "denied: [10.0.0.0/8, 'fc00::/7']")
                            .value();
  CHECK_EQ(config.network.ipv6->text(), "fd12:3456:789a:1::1/64");
  CHECK_EQ(config.network.resolvers->at(1).text(), "2001:db8::53");
  CHECK_EQ(config.network.denied.at(1).text(), "fc00::/7");
  CHECK(with("ipv6: '2001:db8::1/96'"));
  CHECK(with("ipv6: 'fd00::1/1'"));
  for (const char* bad :
       {"fe80::1/64", "ff02::1/64", "::1/64", "::ffff:1.2.3.4/96", "::/64", "fd00::1/97", "fd00::1/0",
        "fd00::1", "fd00::/64", "fd00::1/64x", "192.168.10.1/24", "64:ff9b::1/96", ""}) {
    CAPTURE(bad);
    const auto refused = with("ipv6: '" + std::string(bad) + "'");
    REQUIRE_FALSE(refused);
    CHECK_NE(refused.error().message.find("c:4: network.ipv6: "), std::string::npos);
  }
  for (const char* bad : {"::1", "fe80::53", "::ffff:192.0.2.53", "ff02::1"}) {
    CAPTURE(bad);
    CHECK_FALSE(with("ipv6: 'fd00::1/64', resolvers: ['" + std::string(bad) + "']"));
  }
  const auto without = with("resolvers: ['2001:db8::53']");
  REQUIRE_FALSE(without);
  CHECK_NE(without.error().message.find("is not the IPv4 address of a resolver"), std::string::npos);
}

}  // namespace lambdo::config
