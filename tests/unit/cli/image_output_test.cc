#include "cli/image/output.h"

#include <unistd.h>

#include <string>
#include <utility>

#include "cli/terminal_text.h"
#include "test.h"

namespace lambdo::cli {

TEST_CASE("text of others cannot move a terminal's cursor, break its lines or turn their direction") {
  CHECK(terminal_text("PATH=/usr/bin:/bin") == "PATH=/usr/bin:/bin");
  CHECK(terminal_text("K\xc3\xa4se \xe2\x82\xac \xf0\x9f\x90\x8d") ==
        "K\xc3\xa4se \xe2\x82\xac \xf0\x9f\x90\x8d");
  CHECK(terminal_text("\x1b[2J\n\x7f") == "\\x1b[2J\\x0a\\x7f");
  CHECK(terminal_text("\xc2\x9b"
                      "2J") == "\\u009b2J");
  // The first and the last of C1, and what stands beside them.
  CHECK(terminal_text("\xc2\x80|\xc2\x9f|\xc2\xa0") == "\\u0080|\\u009f|\xc2\xa0");
  // In parts: as one literal they would turn this line's direction too.
  const std::string turning = std::string("a\xe2\x80") + "\xae" + "b\xe2\x81" + "\xa6";
  CHECK(terminal_text(turning) == "a\\u202eb\\u2066");
  CHECK(terminal_text("\x9b\xff") == "\\x9b\\xff");
  CHECK(terminal_text("") == "");
  CHECK(terminal_text(std::string(5000, 'x')).size() == 2048 + 3);
}

TEST_CASE("an image's control characters are shown to people and exact in JSON") {
  const std::string evil = "A=\x1b]0;owned\x07";
  // An image needs a lease, which any lock is.
  const std::string lock_path = "/tmp/lambdo-output-test-" + std::to_string(::getpid());
  auto lease = image::FileLock::try_lock(lock_path, image::FileLock::Kind::shared);
  REQUIRE((lease && *lease));
  (*lease)->remove_on_release();
  image::LocalImage image{.digest = {}, .manifest = {}, .config = {}, .lease = **std::move(lease)};
  image.config.user = evil;
  image.config.working_dir = evil;
  image.config.entrypoint = {evil};
  image.config.cmd = {"ok", evil};
  image.config.env = {evil};
  image.config.platform.os = evil;
  const image::Name name{.reference = "oci:/x" + evil, .manifest = {}, .platform = {}, .source = evil};
  const std::string text = image_text(name, image, "/store/" + evil);
  for (const char c : text) CHECK((c == '\n' || static_cast<unsigned char>(c) >= ' '));
  CHECK(text.find("cmd         ok A=\\x1b]0;owned\\x07\n") != std::string::npos);
  CHECK(image_json(name, image, "").find("\"env\":[\"A=\\u001b]0;owned\\u0007\"]") != std::string::npos);

  image::StoreListing listing;
  listing.images.push_back({.name = name, .complete = true, .rootfs_bytes = {}});
  CHECK(listing_text(listing, "/store").find('\x1b') == std::string::npos);
}

}  // namespace lambdo::cli
