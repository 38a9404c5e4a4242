#include "base/error.h"

#include <cerrno>
#include <memory>
#include <set>

#include "test.h"

namespace lambdo {

static Result<std::unique_ptr<int>> boxed(bool works) {
  if (!works) return fail(Code::not_found, "no box");
  return std::make_unique<int>(7);
}

static Result<int> unboxed(bool works) {
  auto box = TRY(boxed(works));
  return *box;
}

TEST_CASE("TRY yields the value, moving it, or returns the error") {
  CHECK_EQ(unboxed(true).value(), 7);
  CHECK_EQ(unboxed(false).error().code, Code::not_found);
}

TEST_CASE("a system error keeps its errno and names the call") {
  const Error error = errno_error(ENOENT, "open /x");
  CHECK_EQ(error.os_errno, ENOENT);
  CHECK_EQ(error.message, "open /x: No such file or directory");
  CHECK_EQ(Error(error).with_context("config").message, "config: open /x: No such file or directory");
}

TEST_CASE("every code has a name of its own") {
  std::set<std::string_view> names;
  const int last = static_cast<int>(kLastCode);
  for (int code = 0; code <= last; ++code) names.insert(code_name(static_cast<Code>(code)));
  CHECK_EQ(names.size(), static_cast<size_t>(last) + 1);
  CHECK_EQ(code_name(Code::payload_too_large), "payload_too_large");
}

TEST_CASE("an errno becomes the code a caller can act on") {
  struct Case {
    int os_errno;
    Code code;
  };
  for (const auto& [os_errno, code] : {
           Case{EMFILE, Code::resource_exhausted},
           Case{ENFILE, Code::resource_exhausted},
           Case{ENOMEM, Code::resource_exhausted},
           Case{ENOSPC, Code::resource_exhausted},
           Case{EACCES, Code::permission_denied},
           Case{EPERM, Code::permission_denied},
           Case{ENOENT, Code::not_found},
           Case{ECANCELED, Code::cancelled},
           Case{ETIME, Code::timeout},
           Case{ETIMEDOUT, Code::timeout},
           Case{EPIPE, Code::closed},
           Case{ECONNRESET, Code::closed},
           Case{EIO, Code::io},
           Case{0, Code::io},
       }) {
    CAPTURE(os_errno);
    CHECK_EQ(errno_error(os_errno, "call").code, code);
  }
  CHECK_EQ(errno_error(EIO, "call").with_code(Code::engine_failed).os_errno, EIO);
}

}  // namespace lambdo
