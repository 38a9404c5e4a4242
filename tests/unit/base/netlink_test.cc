#include "base/netlink.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "test.h"

namespace lambdo {

using namespace std::string_literals;

static std::vector<std::string> names_of_links(NetlinkSocket& socket) {
  NetlinkMessage message(RTM_GETLINK, 0);
  message.fixed_part<ifinfomsg>();
  std::vector<std::string> names;
  const auto each = [&](const NetlinkAnswer& answer) {
    std::string_view attributes = answer.attributes(sizeof(ifinfomsg));
    while (const auto attribute = take_attribute(attributes)) {
      if (attribute->type == IFLA_IFNAME) names.push_back(attribute->text());
    }
  };
  CHECK(socket.dump(message, "list", each, [&] { names.clear(); }));
  return names;
}

TEST_CASE("attributes are taken one after the other, up to what is cut off") {
  const std::string name = "\x08\0\x03\0lo\0\0"s;  // 4 bytes of value, one of them beyond the text's NUL
  const std::string mtu =
      "\x08\0\x04\x80\0\x01\0\0"s;  // with the flag of a nest, which is no part of the type
  const std::string mac = "\x0a\0\x01\0\x02\0\0\0\0\x07"s;  // the last one needs no padding
  const std::string all = name + mtu + mac;
  std::string_view rest = all;
  auto attribute = take_attribute(rest);
  REQUIRE(attribute);
  CHECK_EQ(attribute->type, 3);
  CHECK_EQ(attribute->text(), "lo");
  attribute = take_attribute(rest);
  REQUIRE(attribute);
  CHECK_EQ(attribute->type, 4);
  CHECK_EQ(attribute->u32(), 256);
  CHECK_EQ(attribute->mac(), MacAddress());
  CHECK(attribute->ip() == IpAddress(Ipv4Address{0x00010000}));
  attribute = take_attribute(rest);
  REQUIRE(attribute);
  CHECK_EQ(attribute->mac().text(), "02:00:00:00:00:07");
  CHECK_EQ(attribute->u32(), 0);
  CHECK_FALSE(attribute->ip());
  CHECK_FALSE(take_attribute(rest));
  for (const std::string& broken : {"\x08\0\x03"s, "\x03\0\x03\0"s, "\0\0\0\0"s, "\x09\0\x03\0abcd"s, ""s}) {
    std::string_view bytes = broken;
    CHECK_FALSE(take_attribute(bytes));
  }
}

TEST_CASE("an answer that is too short for its fixed part gives zeros and no attributes") {
  const NetlinkAnswer answer{.type = RTM_NEWLINK, .payload = "\1\1\1\1"};
  CHECK_EQ(answer.fixed_part<ifinfomsg>().ifi_index, 0);
  CHECK(answer.attributes(sizeof(ifinfomsg)).empty());
}

TEST_CASE("the kernel lists what it is asked for, and says no with its reason") {
  auto socket = NetlinkSocket::open(NETLINK_ROUTE, 5000);
  REQUIRE(socket);
  // Twice: what one request leaves behind is not taken for the next one's.
  for (int i = 0; i < 2; ++i) {
    const std::vector<std::string> names = names_of_links(*socket);
    CHECK(std::ranges::find(names, "lo") != names.end());
    NetlinkMessage message(RTM_GETLINK, 0);
    message.fixed_part<ifinfomsg>();
    message.put(IFLA_IFNAME, "lambdo-none");
    const auto refused = socket->request(message, "interface lambdo-none");
    REQUIRE_FALSE(refused);
    CHECK_EQ(refused.error().os_errno, ENODEV);
    CHECK_EQ(refused.error().code, Code::not_found);
    CHECK(refused.error().message.starts_with("interface lambdo-none: No such device"));
  }
}

TEST_CASE("what is put into a message comes back as the kernel's answer") {
  auto socket = NetlinkSocket::open();
  REQUIRE(socket);
  NetlinkMessage message(RTM_GETLINK, 0);
  message.fixed_part<ifinfomsg>();
  message.put(IFLA_IFNAME, "lo");
  std::string name;
  const auto each = [&](const NetlinkAnswer& answer) {
    CHECK_EQ(answer.type, RTM_NEWLINK);
    std::string_view attributes = answer.attributes(sizeof(ifinfomsg));
    while (const auto attribute = take_attribute(attributes)) {
      if (attribute->type == IFLA_IFNAME) name = attribute->text();
    }
  };
  CHECK(socket->request(message, "interface lo", each));
  CHECK_EQ(name, "lo");
}

}  // namespace lambdo
