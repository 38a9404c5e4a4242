#include "image/store/temporary.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "test.h"

using namespace lambdo;
using image::remove_tree;
using image::TemporaryFile;
using image::TemporaryFolder;

namespace {

std::string make_folder() {
  char text[] = "/tmp/lambdo-tree-XXXXXX";
  return ::mkdtemp(text);
}

void write(const std::string& path) {
  auto fd = sys::open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  REQUIRE(fd);
}

}  // namespace

TEST_CASE("temporary files and folders go with their objects, unless they moved away") {
  const std::string folder = make_folder();
  {
    auto file = TemporaryFile::create(folder + "/file");
    auto inner = TemporaryFolder::create(folder + "/folder");
    REQUIRE((file && inner));
    write(folder + "/folder/content");
    CHECK_FALSE(TemporaryFile::create(folder + "/file"));
    TemporaryFile moved = std::move(*file);
    CHECK(moved.path() == folder + "/file");
    CHECK(file->path().empty());
  }
  CHECK(sys::list_directory(folder)->empty());
  {
    auto file = TemporaryFile::create(folder + "/file");
    REQUIRE(file);
    file->forget();
  }
  CHECK(sys::exists(folder + "/file"));
  CHECK(remove_tree(folder));
  CHECK_FALSE(sys::exists(folder));
}

TEST_CASE("a tree is removed whatever its depth, with descriptors to spare") {
  const std::string folder = make_folder();
  int at = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  // Far more levels than descriptors, and a path far beyond PATH_MAX.
  for (int i = 0; i < 5000; ++i) {
    REQUIRE(::mkdirat(at, "a-folder", 0700) == 0);
    const int next = ::openat(at, "a-folder", O_RDONLY | O_DIRECTORY);
    REQUIRE(next >= 0);
    if (i % 40 == 0) ::close(::openat(at, "file", O_WRONLY | O_CREAT, 0600));
    ::close(at);
    at = next;
  }
  ::close(at);
  write(folder + "/.deep-0");  // a name that the removal itself would take
  const auto removed = remove_tree(folder);
  CHECK_MESSAGE(removed, (removed ? "" : removed.error().message));
  CHECK_FALSE(sys::exists(folder));
}

TEST_CASE("removing a tree stops when it is told to, and goes on later") {
  const std::string folder = make_folder();
  write(folder + "/file");
  const std::atomic<bool> stop = true;
  CHECK(remove_tree(folder, &stop).error().code == Code::cancelled);
  CHECK(sys::exists(folder + "/file"));
  CHECK(remove_tree(folder));
  CHECK_FALSE(sys::exists(folder));
}

TEST_CASE("removing a tree follows no symbolic link") {
  const std::string folder = make_folder();
  const std::string outside = make_folder();
  write(outside + "/kept");
  REQUIRE(::symlink(outside.c_str(), (folder + "/link").c_str()) == 0);
  REQUIRE(::mkdir((folder + "/inner").c_str(), 0) == 0);
  REQUIRE(::symlink((outside + "/kept").c_str(), (folder + "/inner/link").c_str()) == 0);
  CHECK(remove_tree(folder));
  CHECK_FALSE(sys::exists(folder));
  CHECK(sys::exists(outside + "/kept"));
  // The top itself as a link: the link goes, what it names stays.
  REQUIRE(::symlink(outside.c_str(), folder.c_str()) == 0);
  CHECK(remove_tree(folder));
  CHECK_FALSE(sys::exists(folder));
  CHECK(sys::exists(outside + "/kept"));
  CHECK(remove_tree(outside));
  CHECK(remove_tree(outside));  // nothing there is success
}

TEST_CASE("what is mounted in a tree is not touched") {
  const std::string folder = make_folder();
  const std::string outside = make_folder();
  write(outside + "/kept");
  REQUIRE(::mkdir((folder + "/mount").c_str(), 0700) == 0);
  if (::mount(outside.c_str(), (folder + "/mount").c_str(), nullptr, MS_BIND, nullptr) != 0) {
    MESSAGE("skipped: may not mount here");
  } else {
    REQUIRE(::mkdir((folder + "/zzz").c_str(), 0700) == 0);
    write(folder + "/aaa");
    const auto removed = remove_tree(folder);
    REQUIRE_FALSE(removed);
    CHECK_MESSAGE(removed.error().message.contains("mount"), removed.error().message);
    CHECK(sys::exists(outside + "/kept"));
    // It does not keep the others, whichever is met first.
    CHECK(*sys::list_directory(folder) == std::vector<std::string>{"mount"});
    REQUIRE(::umount(((folder + "/mount").c_str())) == 0);
  }
  CHECK(remove_tree(folder));
  CHECK(remove_tree(outside));
}
