#include "agent/network_plan.h"

#include <sys/socket.h>

#include "agent/ip_parameter.h"
#include "agent/name_files.h"
#include "lambdo.pb.h"

#include "test.h"

namespace lambdo::agent {

namespace proto = grpc_definitions;

static proto::ConfigureRequest good() {
  proto::ConfigureRequest request;
  request.set_hostname("vm-1.example");
  proto::NetworkInterface& interface = *request.mutable_interface();
  interface.set_mac("02:00:00:AB:cd:01");
  interface.set_ipv4("192.168.10.2/24");
  interface.set_ipv4_gateway("192.168.10.1");
  interface.set_ipv6("fd00::2/64");
  interface.set_ipv6_gateway("fe80::1");
  interface.set_mtu(1400);
  interface.add_dns_servers("1.1.1.1");
  interface.add_dns_servers("2606:4700::1111");
  interface.add_dns_search("a_b.example.com");
  return request;
}

TEST_CASE("what the host says of a guest's network becomes a plan") {
  const auto plan = make_machine_plan(good());
  REQUIRE_MESSAGE(plan, plan.error().message);
  CHECK_EQ(plan->hostname, "vm-1.example");
  REQUIRE(plan->interface);
  CHECK_EQ(plan->interface->mac.text(), "02:00:00:ab:cd:01");
  CHECK(!plan->interface->new_mac);
  REQUIRE_EQ(plan->interface->addresses.size(), 2);
  CHECK_EQ(plan->interface->addresses[0].subnet.address.text(), "192.168.10.2");
  CHECK_EQ(plan->interface->addresses[0].subnet.prefix_len, 24);
  CHECK_EQ(plan->interface->addresses[0].gateway->text(), "192.168.10.1");
  CHECK_EQ(plan->interface->addresses[1].subnet.address.text(), "fd00::2");
  CHECK_EQ(plan->interface->addresses[1].gateway->text(), "fe80::1");
  CHECK_EQ(plan->interface->mtu, 1400);
  CHECK_EQ(resolv_conf_text(*plan->interface),
           "nameserver 1.1.1.1\nnameserver 2606:4700::1111\nsearch a_b.example.com\n");
  CHECK_EQ(hosts_text(plan->hostname, &*plan->interface),
           "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
           "192.168.10.2 vm-1.example vm-1\nfd00::2 vm-1.example vm-1\n");
}

TEST_CASE("an empty request changes nothing") {
  const auto plan = make_machine_plan({});
  REQUIRE(plan);
  CHECK(plan->hostname.empty());
  CHECK(!plan->interface);
  CHECK_EQ(hosts_text("vm", nullptr),
           "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 vm\n");
}

TEST_CASE("values that no interface can have are refused by the name of their field") {
  const struct {
    const char* field;
    void (*spoil)(proto::ConfigureRequest& request, proto::NetworkInterface& interface,
                  const std::string& value);
    std::vector<std::string> values;
  } rows[] = {
      {"hostname",
       [](proto::ConfigureRequest& request, proto::NetworkInterface&, const std::string& value) {
         request.set_hostname(value);
       },
       {"a b", "a\nb", "-a", "a-", "a..b", ".", "a_b", std::string(65, 'a'), std::string("a\0b", 3)}},
      {"interface.mac",
       [](proto::ConfigureRequest&, proto::NetworkInterface& interface, const std::string& value) {
         interface.set_mac(value);
       },
       {"", "02:00:00:00:00", "02:00:00:00:00:0g", "02-00-00-00-00-01", "01:00:00:00:00:01",
        "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:01:"}},
      {"interface.new_mac",
       [](proto::ConfigureRequest&, proto::NetworkInterface& interface, const std::string& value) {
         interface.set_new_mac(value);
       },
       {"x", "ff:ff:ff:ff:ff:ff"}},
      {"interface.ipv4",
       [](proto::ConfigureRequest&, proto::NetworkInterface& interface, const std::string& value) {
         interface.set_ipv4(value);
       },
       {"192.168.10.2", "192.168.10.2/", "192.168.10.2/0", "192.168.10.2/33", "192.168.10/24", "fd00::2/64",
        "224.0.0.1/24", "127.0.0.2/8", "0.0.0.0/8", "1.2.3.4/24/1", std::string("1.2.3.4\0/24", 11)}},
      {"interface.ipv4_gateway",
       [](proto::ConfigureRequest&, proto::NetworkInterface& interface, const std::string& value) {
         interface.set_ipv4_gateway(value);
       },
       {"x", "fd00::1", "192.168.10.2", "255.255.255.255", "192.168.10.1/24"}},
      {"interface.ipv6",
       [](proto::ConfigureRequest&, proto::NetworkInterface& interface, const std::string& value) {
         interface.set_ipv6(value);
       },
       {"fd00::2", "fd00::2/129", "::/64", "::1/64", "ff02::1/64", "1.2.3.4/24"}},
      {"interface.ipv6_gateway",
       [](proto::ConfigureRequest&, proto::NetworkInterface& interface, const std::string& value) {
         interface.set_ipv6_gateway(value);
       },
       {"x", "1.2.3.4", "fd00::2", "ff02::1"}},
      {"interface.ipv6_gateway_mac",
       [](proto::ConfigureRequest&, proto::NetworkInterface& interface, const std::string& value) {
         interface.set_ipv6_gateway_mac(value);
       },
       {"x", "33:33:00:00:00:01", "02:00:00:00:00"}},
      {"interface.dns_servers",
       [](proto::ConfigureRequest&, proto::NetworkInterface& interface, const std::string& value) {
         interface.set_dns_servers(0, value);
       },
       {"", "dns.example", "1.1.1.1\nnameserver 2.2.2.2"}},
      {"interface.dns_search",
       [](proto::ConfigureRequest&, proto::NetworkInterface& interface, const std::string& value) {
         interface.set_dns_search(0, value);
       },
       {"", "a b", "a\noptions x", "-", std::string(64, 'a'), std::string(300, 'a')}},
  };
  for (const auto& [field, spoil, values] : rows) {
    for (const std::string& value : values) {
      CAPTURE(field);
      CAPTURE(value);
      proto::ConfigureRequest request = good();
      spoil(request, *request.mutable_interface(), value);
      const auto plan = make_machine_plan(request);
      REQUIRE(!plan);
      CHECK_EQ(plan.error().code, Code::invalid_argument);
      CHECK(plan.error().message.starts_with(std::string(field) + ": "));
    }
  }
}

TEST_CASE("limits on the MTU and on the number of names hold, and a gateway needs an address") {
  const auto refused = [](void (*spoil)(proto::NetworkInterface& interface)) {
    proto::ConfigureRequest request = good();
    spoil(*request.mutable_interface());
    return !make_machine_plan(request);
  };
  CHECK(refused([](auto& interface) { interface.set_mtu(1279); }));
  CHECK(refused([](auto& interface) { interface.set_mtu(65536); }));
  CHECK(refused([](auto& interface) {
    interface.clear_ipv6();
    interface.clear_ipv6_gateway();
    interface.set_mtu(575);
  }));
  CHECK(!refused([](auto& interface) {
    interface.clear_ipv6();
    interface.clear_ipv6_gateway();
    interface.set_mtu(576);
  }));
  CHECK(refused([](auto& interface) { interface.clear_ipv4(); }));
  CHECK(refused([](auto& interface) {
    interface.clear_ipv6_gateway();
    interface.set_ipv6_gateway_mac("02:00:00:00:00:02");
  }));
  CHECK(refused([](auto& interface) {
    for (int i = 0; i < 2; ++i) interface.add_dns_servers("1.1.1.1");
  }));
  CHECK(refused([](auto& interface) {
    for (int i = 0; i < 32; ++i) interface.add_dns_search("a");
  }));
}

TEST_CASE("the kernel's ip= is found, the last one, and becomes a plan where it is static") {
  CHECK(!find_ip_parameter("quiet xip=1 skip=2\n"));
  CHECK_EQ(find_ip_parameter("ip=a quiet ip=b").value(), "b");
  CHECK_EQ(find_ip_parameter("ip=1.2.3.4:::\n").value(), "1.2.3.4:::");
  const auto plan = parse_ip_parameter("192.168.10.2::192.168.10.1:255.255.255.0::eth0:off");
  REQUIRE_MESSAGE(plan, plan.error().message);
  CHECK_EQ(plan->name, "eth0");
  REQUIRE_EQ(plan->addresses.size(), 1);
  CHECK_EQ(plan->addresses[0].subnet.address.text(), "192.168.10.2");
  CHECK_EQ(plan->addresses[0].subnet.prefix_len, 24);
  CHECK_EQ(plan->addresses[0].gateway->text(), "192.168.10.1");
  CHECK(parse_ip_parameter("10.0.0.2:::255.255.255.255:name:eth0:none:1.1.1.1:2.2.2.2"));
  CHECK(parse_ip_parameter("10.0.0.2:::255.254.0.0::eth0"));
  for (const char* wrong :
       {"", "dhcp", "on", "10.0.0.2", "10.0.0.2:::255.0.255.0::eth0:off", "10.0.0.2:::24::eth0:off",
        "10.0.0.2:::255.0.0.0:::off", "10.0.0.2:::255.0.0.0::eth0:dhcp", "x:::255.0.0.0::eth0:off",
        "10.0.0.2::x:255.0.0.0::eth0:off", "10.0.0.2:::0.0.0.0::eth0:off", ":::255.0.0.0::eth0:off"}) {
    CAPTURE(wrong);
    const auto refused = parse_ip_parameter(wrong);
    REQUIRE(!refused);
    CHECK_EQ(refused.error().code, Code::invalid_argument);
    CHECK(refused.error().message.starts_with("ip=" + std::string(wrong)));
  }
}

}  // namespace lambdo::agent
