#include "kvm/boot/command_line.h"

#include "test.h"

namespace lambdo::kvm {

TEST_CASE("a static network is written as the kernel's ip= wants it") {
  const struct {
    const char* address;
    const char* gateway;
    const char* device;
    const char* text;
  } rows[] = {
      {"192.168.10.2/24", "192.168.10.1", "eth0", "ip=192.168.10.2::192.168.10.1:255.255.255.0::eth0:off"},
      {"10.1.2.3/8", "10.0.0.1", "eth1", "ip=10.1.2.3::10.0.0.1:255.0.0.0::eth1:off"},
      {"10.1.2.3/32", "169.254.1.1", "eth0", "ip=10.1.2.3::169.254.1.1:255.255.255.255::eth0:off"},
      {"10.1.2.3/31", "", "eth0", "ip=10.1.2.3:::255.255.255.254::eth0:off"},
      {"10.1.2.3/1", "", "eth0", "ip=10.1.2.3:::128.0.0.0::eth0:off"},
      {"10.1.2.3/20", "", "eth0", "ip=10.1.2.3:::255.255.240.0::eth0:off"},
  };
  for (const auto& [address, gateway, device, text] : rows) {
    CommandLine line;
    REQUIRE(line.add_network(address, gateway, device));
    CHECK_EQ(line.text(), text);
  }
}

TEST_CASE("what is no network leaves the command line as it was") {
  const struct {
    const char* address;
    const char* gateway;
    const char* device;
  } rows[] = {
      {"", "", "eth0"},
      {"192.168.10.2", "", "eth0"},
      {"192.168.10.2/", "", "eth0"},
      {"192.168.10.2/0", "", "eth0"},
      {"192.168.10.2/33", "", "eth0"},
      {"192.168.10.2/24 init=/x", "", "eth0"},
      {"fd00::2/64", "", "eth0"},
      {"192.168.10.2/24", "gateway", "eth0"},
      {"192.168.10.2/24", "1.2.3.4 init=/x", "eth0"},
      {"192.168.10.2/24", "", ""},
      {"192.168.10.2/24", "", "eth0:off init"},
      {"192.168.10.2/24", "", "a-name-of-16-byte"},
  };
  for (const auto& [address, gateway, device] : rows) {
    CAPTURE(address);
    CommandLine line;
    const auto added = line.add_network(address, gateway, device);
    REQUIRE_FALSE(added);
    CHECK_EQ(added.error().code, Code::invalid_argument);
    CHECK_EQ(line.text(), "");
  }
}

}  // namespace lambdo::kvm
