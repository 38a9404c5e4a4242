#include "engine/run_network.h"

#include "test.h"

namespace lambdo::engine {

using net::Policy;
using net::PolicyChoice;
using Access = net::Policy::Access;

static Ipv4Subnet network(const char* text) {
  return Ipv4Subnet::parse(text).value();
}

TEST_CASE("a request gets less than its language, or as much as the server lets it ask for") {
  const Language closed{.name = "closed"};
  Language open{.name = "open"};
  open.network = {.access = Access::egress,
                  .allowed = {{.to = network("203.0.113.0/24")}},
                  .denied = {network("203.0.113.7")}};
  const PolicyChoice none;
  const PolicyChoice egress{.access = Access::egress};
  const PolicyChoice less{.access = Access::egress, .denied = {network("203.0.113.8")}};
  const PolicyChoice inside{.access = Access::egress,
                            .allowed = std::vector<Policy::Destination>{{.to = network("10.0.0.0/8")}}};
  const PolicyChoice full{.access = Access::full};

  CHECK(effective_network(open, std::nullopt, Access::none).value() == open.network);
  for (const Access most : {Access::none, Access::egress, Access::full}) {
    CHECK(effective_network(open, none, most).value() == Policy{});
    CHECK(effective_network(open, egress, most).value() == open.network);
    Policy narrowed = open.network;
    narrowed.denied.push_back(network("203.0.113.8"));
    CHECK(effective_network(open, less, most).value() == narrowed);
  }
  CHECK_EQ(effective_network(closed, egress, Access::none).error().message,
           "network: egress is more than this server gives to a request (network.requests: none)");
  CHECK_EQ(effective_network(open, inside, Access::none).error().code, Code::permission_denied);
  CHECK_EQ(effective_network(open, full, Access::egress).error().code, Code::permission_denied);
  CHECK(effective_network(closed, egress, Access::egress).value() == net::policy_of(egress));
  // Public only, and what the language denies stays denied.
  const Policy granted = effective_network(open, inside, Access::egress).value();
  CHECK(granted.public_only);
  CHECK(granted.denied == open.network.denied);
  CHECK_FALSE(effective_network(open, inside, Access::full).value().public_only);
  CHECK(effective_network(open, full, Access::full).value().denied == open.network.denied);
  const PolicyChoice contradictory{.access = Access::none, .denied = {network("1.2.3.4")}};
  CHECK_EQ(effective_network(open, contradictory, Access::full).error().code, Code::invalid_argument);
}

}  // namespace lambdo::engine
