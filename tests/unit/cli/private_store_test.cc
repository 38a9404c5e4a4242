#include "cli/private_store.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "base/syscalls.h"

namespace lambdo::cli {

namespace {

/// TMPDIR leads to a new folder as long as it lives.
class OwnTmpdir {
 public:
  OwnTmpdir() {
    if (const char* before = ::getenv("TMPDIR")) before_ = before;
    char text[] = "/tmp/lambdo-tmpdir-XXXXXX";
    path_ = ::mkdtemp(text);
    ::setenv("TMPDIR", path_.c_str(), 1);
  }
  ~OwnTmpdir() {
    if (before_) {
      ::setenv("TMPDIR", before_->c_str(), 1);
    } else {
      ::unsetenv("TMPDIR");
    }
    CHECK(image::remove_tree(path_));
  }
  OwnTmpdir(const OwnTmpdir&) = delete;
  OwnTmpdir& operator=(const OwnTmpdir&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::vector<std::string> files() const { return *sys::list_directory(path_); }

 private:
  std::string path_;
  std::optional<std::string> before_;
};

void make_leftover(const std::string& path) {
  REQUIRE(sys::mkdirs(path + "/store/blobs", 0700));
}

}  // namespace

TEST_CASE("a private store is in TMPDIR, its user's alone, and goes with its owner") {
  const OwnTmpdir tmpdir;
  {
    const auto store = PrivateStore::create();
    REQUIRE(store);
    CHECK(store->path().starts_with(tmpdir.path() + "/lambdo-initramfs-"));
    REQUIRE(tmpdir.files().size() == 1);
    struct stat status{};
    REQUIRE(::stat((tmpdir.path() + "/" + tmpdir.files().front()).c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0700);
    make_leftover(store->path());
  }
  CHECK(tmpdir.files().empty());
}

TEST_CASE("the next private store removes what killed commands left, and nothing else") {
  const OwnTmpdir tmpdir;
  auto living = PrivateStore::create();
  REQUIRE(living);
  make_leftover(living->path());
  make_leftover(tmpdir.path() + "/lambdo-initramfs-123");
  make_leftover(tmpdir.path() + "/lambdo-initramfs-456");
  make_leftover(tmpdir.path() + "/other");
  REQUIRE(::symlink("other", (tmpdir.path() + "/lambdo-initramfs-link").c_str()) == 0);
  const bool gives_away = ::chown((tmpdir.path() + "/lambdo-initramfs-456").c_str(), 12345, 12345) == 0;
  if (!gives_away) MESSAGE("partly skipped: only root gives folders away");
  const auto store = PrivateStore::create();
  REQUIRE(store);
  CHECK(sys::exists(living->path() + "/store/blobs"));
  CHECK_FALSE(sys::exists(tmpdir.path() + "/lambdo-initramfs-123"));
  CHECK(sys::exists(tmpdir.path() + "/lambdo-initramfs-456") == gives_away);
  CHECK(sys::exists(tmpdir.path() + "/other/store/blobs"));
}

TEST_CASE("a TMPDIR that is no folder is named in the error") {
  const OwnTmpdir tmpdir;
  ::setenv("TMPDIR", "/nowhere/at/all", 1);
  const auto store = PrivateStore::create();
  ::setenv("TMPDIR", tmpdir.path().c_str(), 1);
  REQUIRE_FALSE(store);
  CHECK(store.error().code == Code::invalid_argument);
  CHECK_MESSAGE(store.error().message.contains("TMPDIR is no folder: /nowhere/at/all"),
                store.error().message);
}

}  // namespace lambdo::cli
