#include "cli/command_error.h"

#include <cerrno>
#include <string>

#include "base/error.h"
#include "cli/image/remedy.h"
#include "test.h"

namespace lambdo::cli {

TEST_CASE("each line of an error says whose it is, and what to do comes last") {
  CHECK_EQ(error_text("run", "no", ""), "lambdo run: no\n");
  CHECK_EQ(error_text("serve", "a:1: x\na:2: y", "see a"),
           "lambdo serve: a:1: x\nlambdo serve: a:2: y\n  -> see a\n");
  CHECK_EQ(error_text("image ls", "\x1b[2J", ""), "lambdo image ls: \\x1b[2J\n");
}

TEST_CASE("what to do about a path is about the path, and not about an image's name") {
  for (const int os_errno : {ENOENT, ENOTDIR, EISDIR}) {
    const std::string text = remedy(errno_error(os_errno, "open x"));
    CHECK_MESSAGE(text.contains("check the path"), text);
    CHECK_FALSE_MESSAGE(text.contains("tag"), text);
  }
  const std::string denied = remedy(errno_error(EACCES, "open x"));
  CHECK_MESSAGE(denied.contains("a user who may"), denied);
  CHECK(remedy({Code::not_found, 0, "no such tag"}).contains("check the name and the tag"));
}

TEST_CASE("what to do about a store that goes with the command leaves out what cannot be done to it") {
  for (int code = 0; code <= static_cast<int>(kLastCode); ++code) {
    const Error error{static_cast<Code>(code), 0, ""};
    CAPTURE(code_name(error.code));
    const std::string text = remedy(error, StoreKind::temporary);
    CHECK(text.empty() == remedy(error).empty());
    for (const char* part : {"--store", "image ls", "image rm", "prune", "pull the image"}) {
      CHECK_FALSE_MESSAGE(text.contains(part), text);
    }
  }
  CHECK(remedy({Code::resource_exhausted, 0, ""}, StoreKind::temporary).contains("TMPDIR"));
}

}  // namespace lambdo::cli
