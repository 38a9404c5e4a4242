#include "image/store/private_store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "test.h"

namespace lambdo::image {

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

void fill(const std::string& store) {
  REQUIRE(sys::mkdirs(store + "/blobs/sha256", 0700));
  REQUIRE(sys::open(store + "/version", O_WRONLY | O_CREAT, 0600));
}

/// What a command leaves that is killed; gives its folder.
std::string leave_one_behind(const OwnTmpdir& tmpdir) {
  const std::vector<std::string> before = tmpdir.files();
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto store = PrivateStore::create();
    if (!store || !sys::mkdirs(store->path() + "/blobs/sha256", 0700)) ::_exit(1);
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  for (const std::string& name : tmpdir.files()) {
    if (std::ranges::find(before, name) == before.end()) return tmpdir.path() + "/" + name;
  }
  FAIL("nothing was left");
  return {};
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
    fill(store->path());
  }
  CHECK(tmpdir.files().empty());
}

TEST_CASE("the next private store removes what killed commands left, and not what the living have") {
  const OwnTmpdir tmpdir;
  const std::string first = leave_one_behind(tmpdir);
  auto living = PrivateStore::create();
  REQUIRE(living);
  CHECK_FALSE(sys::exists(first));
  fill(living->path());
  // And one that was killed while it was being removed.
  const std::string second = leave_one_behind(tmpdir);
  REQUIRE(image::remove_tree(second + "/store"));
  const auto store = PrivateStore::create();
  REQUIRE(store);
  CHECK_FALSE(sys::exists(second));
  CHECK(sys::exists(living->path() + "/blobs/sha256"));
  CHECK(tmpdir.files().size() == 2);
}

TEST_CASE("folders of others stay, however they are named") {
  const OwnTmpdir tmpdir;
  const std::string prefix = tmpdir.path() + "/lambdo-initramfs-";
  for (const char* name : {"mine", "123", "123-456", "123-456-7", "-", ""}) {
    REQUIRE(sys::mkdirs(prefix + name + "/store", 0700));
    REQUIRE(sys::open(prefix + name + "/store/version", O_WRONLY | O_CREAT, 0600));
  }
  // One of ours that others may enter, that is somebody else's, or that has another name by now.
  const std::string open = leave_one_behind(tmpdir);
  REQUIRE(::chmod(open.c_str(), 0755) == 0);
  const std::string renamed = leave_one_behind(tmpdir);
  REQUIRE(::rename(renamed.c_str(), (tmpdir.path() + "/lambdo-initramfs-kept").c_str()) == 0);
  REQUIRE(::symlink("lambdo-initramfs-kept", (prefix + "1-1").c_str()) == 0);
  const std::string given = leave_one_behind(tmpdir);
  const bool gives_away = ::chown(given.c_str(), 12345, 12345) == 0;
  if (!gives_away) MESSAGE("partly skipped: only root gives folders away");
  std::vector<std::string> before = tmpdir.files();
  if (!gives_away) std::erase(before, given.substr(tmpdir.path().size() + 1));
  {
    const auto store = PrivateStore::create();
    REQUIRE(store);
  }
  CHECK(tmpdir.files() == before);
  for (const char* name : {"mine", "123", "123-456", "123-456-7", "-", "", "kept"}) {
    CHECK_MESSAGE(sys::exists(prefix + name + "/store"), name);
  }
  CHECK(sys::exists(prefix + "123/store/version"));
}

TEST_CASE("what a user put beside a leftover stays with its folder") {
  const OwnTmpdir tmpdir;
  const std::string left = leave_one_behind(tmpdir);
  REQUIRE(sys::open(left + "/notes", O_WRONLY | O_CREAT, 0600));
  const auto store = PrivateStore::create();
  REQUIRE(store);
  CHECK(sys::exists(left + "/notes"));
  CHECK_FALSE(sys::exists(left + "/store"));
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

}  // namespace lambdo::image
