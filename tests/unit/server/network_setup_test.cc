#include "server/network_setup.h"

#include <string>

#include "config/config.h"

#include "test.h"

namespace lambdo::server {

static const std::string kHead = "apiVersion: lambdo.io/v1alpha1\nkind: Config\n";
static const std::string kLanguages = "languages: [{name: a, steps: [{command: x}]}]\n";

TEST_CASE("the server's network is read, and becomes the helper's settings") {
  const config::Config config = config::parse_config(kHead + "state_dir: /s\n" + kLanguages + R"(
api: {bridge: br7, bridge_address: 10.7.0.1/16}
network:
  requests: egress
  denied: [10.0.0.0/8, 192.0.2.1]
  resolvers: [192.0.2.53]
  max_connections: 17
  mbit_per_s: 100
  packets_per_s: 5000
  quarantine_ms: 1000
)",
                                                     "c")
                                    .value();
  CHECK(config.warnings.empty());
  CHECK(config.gives_network());
  const auto settings = network_settings(config, net::PortKind::veth, 50051).value();
  CHECK_EQ(settings.state_dir, "/s");
  CHECK_EQ(settings.bridge, "br7");
  CHECK_EQ(settings.address.text(), "10.7.0.1/16");
  CHECK_EQ(settings.denied.at(1).text(), "192.0.2.1/32");
  CHECK_EQ(settings.resolvers.at(0).text(), "192.0.2.53");
  CHECK(settings.limits == net::GuestLimits{17, 100, 5000});
  CHECK_EQ(settings.quarantine_ns, 1'000'000'000);
  CHECK(settings.kind == net::PortKind::veth);
  CHECK(settings.egress);
}

TEST_CASE("of the host's resolvers guests are told those that they can reach") {
  const auto resolvers = reachable_resolvers(
      "# nameserver 9.9.9.9\nnameserver 127.0.0.53\nnameserver\t192.0.2.1 # first\nnameserver 2001:db8::1\n"
      "nameserver192.0.2.9\nnameserver 192.0.2.2\nsearch example\nnameserver 192.0.2.3\nnameserver "
      "192.0.2.4");
  CHECK(reachable_resolvers("nameserver 0.0.0.0\n").empty());
  CHECK_EQ(reachable_resolvers("nameserver 169.254.169.254\n").size(), 1);
  REQUIRE_EQ(resolvers.size(), 3);
  CHECK_EQ(resolvers[0].text(), "192.0.2.1");
  CHECK_EQ(resolvers[2].text(), "192.0.2.3");
  CHECK(reachable_resolvers("").empty());
  const auto both = reachable_resolvers(
      "nameserver 192.0.2.1\nnameserver ::1\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n", true);
  REQUIRE_EQ(both.size(), 2);
  CHECK_EQ(both[1].text(), "2001:db8::1");
}

}  // namespace lambdo::server
