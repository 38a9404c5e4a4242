#include "server/image_user.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "test.h"

namespace lambdo::server {

static constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/bin/sh\nworker:x:1234:5678::/:/bin/sh\nodd:x:7\n:x:9:9\nzero:x:50:0::/:\n";
static constexpr const char* kGroup = "root:x:0:\nstaff:x:77:worker\nbroken\n";

TEST_CASE("an image's user is found as its files say, and is never root") {
  struct Row {
    const char* user;
    uint32_t uid;
    uint32_t gid;
  };
  constexpr Row kRows[] = {
      {"", 1000, 1000},           {"root", 1000, 1000},
      {"0", 1000, 1000},          {"0:0", 1000, 1000},
      {"root:staff", 1000, 1000}, {"33", 33, 33},
      {"1234", 1234, 5678},       {"33:34", 33, 34},
      {"worker", 1234, 5678},     {"worker:staff", 1234, 77},
      {"worker:5", 1234, 5},      {"zero", 50, 50},
      {"33:0", 33, 33},           {"odd", 7, 7},
  };
  for (const Row& row : kRows) {
    CAPTURE(row.user);
    const auto found = resolve_user(row.user, kPasswd, kGroup);
    REQUIRE(found);
    CHECK_EQ(found->uid, row.uid);
    CHECK_EQ(found->gid, row.gid);
  }
  CHECK_EQ(resolve_user("33:34", {}, {})->gid, 34);
}

TEST_CASE("a user or group that the image does not have is told") {
  for (const char* user : {"nobody", "worker:none", "4294967295", "-1", ":", "a b"}) {
    CAPTURE(user);
    const auto found = resolve_user(user, kPasswd, kGroup);
    if (std::string_view(user) == ":") {
      CHECK(found);
      continue;
    }
    REQUIRE_FALSE(found);
    CHECK_EQ(found.error().code, Code::invalid_argument);
  }
}

TEST_CASE("only names need the image's files") {
  for (const char* user : {"", "root", "0", "33:34", "0:0"}) CHECK_FALSE(needs_user_files(user));
  for (const char* user : {"33", "worker", "worker:34", "33:staff"}) CHECK(needs_user_files(user));
}

TEST_CASE("a file of an unpacked image is never one of the host's, whatever links lead there") {
  std::string pattern = std::filesystem::temp_directory_path() / "lambdo-rootfs-XXXXXX";
  const std::filesystem::path root = ::mkdtemp(pattern.data());
  std::filesystem::create_directories(root / "etc");
  std::filesystem::create_directories(root / "usr");
  std::ofstream(root / "usr/passwd") << "inside";
  std::filesystem::create_symlink("/usr/passwd", root / "etc/passwd");
  std::filesystem::create_symlink("../../../../../../etc/hostname", root / "etc/group");
  std::filesystem::create_symlink("/proc/self/root/etc/passwd", root / "etc/magic");
  CHECK_EQ(read_in_rootfs(root, "etc/passwd").value(), "inside");
  CHECK_EQ(read_in_rootfs(root, "etc/group").value(), "");  // there is no such file in the image
  CHECK_EQ(read_in_rootfs(root, "etc/magic").value(), "");
  CHECK_EQ(read_in_rootfs(root, "etc/none").value(), "");
  std::filesystem::remove_all(root);
}

TEST_CASE("the language's variables go over the image's, and both over HOME") {
  image::ImageConfig image;
  image.env = {"PATH=/opt/bin:/bin", "A=1", "B=2", "broken", "=x", "EMPTY="};
  image.working_dir = "/app";
  engine::Language language;
  language.environment = {{"B", "3"}, {"C", "4"}};
  using Variables = std::vector<std::pair<std::string, std::string>>;
  CHECK(step_environment(image, language) == Variables{{"HOME", "/tmp"},
                                                       {"LAMBDO_IMAGE_WORKDIR", "/app"},
                                                       {"PATH", "/opt/bin:/bin"},
                                                       {"A", "1"},
                                                       {"B", "3"},
                                                       {"EMPTY", ""},
                                                       {"C", "4"}});
  image.env = {"HOME=/home/x"};
  CHECK_EQ(step_environment(image, {}).front().second, "/home/x");
}

}  // namespace lambdo::server
