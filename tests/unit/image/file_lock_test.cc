#include "image/store/file_lock.h"

#include <fcntl.h>

#include <cstdlib>

#include "base/files.h"
#include "base/syscalls.h"
#include "image/store/temporary.h"
#include "test.h"

using namespace lambdo;
using image::FileLock;

namespace {

struct Folder {
  Folder() {
    char text[] = "/tmp/lambdo-lock-XXXXXX";
    path = ::mkdtemp(text);
  }
  ~Folder() { CHECK(image::remove_tree(path)); }
  std::string path;
};

}  // namespace

TEST_CASE("an exclusive lock keeps all others out until it is let go") {
  const Folder folder;
  const std::string path = folder.path + "/lock";
  auto first = FileLock::try_lock(path, FileLock::Kind::exclusive);
  REQUIRE((first && *first));
  CHECK_FALSE(FileLock::try_lock(path, FileLock::Kind::exclusive)->has_value());
  CHECK_FALSE(FileLock::try_lock(path, FileLock::Kind::shared)->has_value());
  const auto busy = FileLock::lock(path, FileLock::Kind::shared, 20);
  REQUIRE_FALSE(busy);
  CHECK(busy.error().code == Code::store_busy);
  first->reset();
  CHECK(FileLock::try_lock(path, FileLock::Kind::exclusive)->has_value());
}

TEST_CASE("shared locks go together and keep an exclusive one out") {
  const Folder folder;
  const std::string path = folder.path + "/lock";
  auto first = FileLock::lock(path, FileLock::Kind::shared, 0);
  auto second = FileLock::lock(path, FileLock::Kind::shared, 0);
  REQUIRE((first && second));
  first = fail(Code::internal, "gone");
  CHECK_FALSE(FileLock::try_lock(path, FileLock::Kind::exclusive)->has_value());
  second = fail(Code::internal, "gone");
  CHECK(FileLock::try_lock(path, FileLock::Kind::exclusive)->has_value());
}

TEST_CASE("a lock's file that is removed on release does not let two in") {
  const Folder folder;
  const std::string path = folder.path + "/lock";
  {
    auto lock = FileLock::try_lock(path, FileLock::Kind::exclusive);
    REQUIRE((lock && *lock));
    (*lock)->remove_on_release();
    FileLock moved = std::move(**lock);
    CHECK_FALSE(FileLock::try_lock(path, FileLock::Kind::exclusive)->has_value());
  }
  CHECK_FALSE(sys::exists(path));
  CHECK(FileLock::try_lock(path, FileLock::Kind::exclusive)->has_value());
}

TEST_CASE("what was moved, removed or replaced before it is locked is told apart from what is held") {
  const Folder folder;
  const std::string path = folder.path + "/file";
  const auto make = [&path] { return *sys::open(path, O_RDWR | O_CREAT, 0600); };
  using image::Lock;
  const auto lock = [&path](const Fd& fd) {
    return *image::try_lock_at(path, fd.get(), FileLock::Kind::exclusive);
  };
  const Fd first = make();
  CHECK(lock(first) == Lock::held);
  CHECK(lock(make()) == Lock::busy);
  REQUIRE(sys::rename(path, path + "2"));
  CHECK(lock(first) == Lock::moved);
  const Fd second = make();
  CHECK(lock(first) == Lock::moved);
  CHECK(lock(second) == Lock::held);
  CHECK_FALSE(image::try_lock_at(path, -1, FileLock::Kind::exclusive));
}
