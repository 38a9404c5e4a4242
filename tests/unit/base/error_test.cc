#include "base/error.h"

#include <cerrno>
#include <memory>

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

TEST_CASE("a system error keeps its errno and gets the code a caller can act on") {
  CHECK_EQ(errno_error(EMFILE, "accept").code, Code::resource_exhausted);
  CHECK_EQ(errno_error(EPIPE, "send").code, Code::closed);
  const Error error = errno_error(ENOENT, "open /x");
  CHECK_EQ(error.os_errno, ENOENT);
  CHECK_EQ(error.message, "open /x: No such file or directory");
  CHECK_EQ(Error(error).with_context("config").message, "config: open /x: No such file or directory");
}

}  // namespace lambdo
