#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "base/syscalls.h"
#include "image/store/store.h"
#include "store_fixture.h"
#include "test.h"

using namespace lambdo;
using namespace lambdo::image;

TEST_CASE("what the dead left is removed when asked for, and what the living have stays") {
  const StoreFolder folder;
  const auto living = folder.open();
  const auto lock = living->try_lock("rootfs-living");
  REQUIRE((lock && *lock));
  shell("cd " + folder.path() +
        " && mkdir -p tmp/1-2/rootfs/etc && touch tmp/1-2/rootfs/etc/passwd locks/blob-dead");
  const auto store = folder.open();
  // Opening does not wait for gigabytes to be removed.
  CHECK(folder.files("tmp").size() == 3);
  const std::atomic<bool> stop = true;
  store->remove_leftovers(&stop);
  CHECK(folder.files("tmp").size() == 3);
  store->remove_leftovers(nullptr);
  CHECK(folder.files("tmp").size() == 2);
  CHECK(folder.files("locks") == std::vector<std::string>{"rootfs-living"});
  CHECK(living->put_blob("x", Digest::of("x")));
  CHECK(store->put_blob("y", Digest::of("y")));
}

TEST_CASE(
    "leftovers that cannot be removed keep neither the store from opening nor others from being removed") {
  const StoreFolder folder;
  {
    const auto store = folder.open();
  }
  const std::string stays = folder.path() + "/tmp/stays";
  shell("cd " + folder.path() + "/tmp && ln -s /nowhere dangling && ln -s /etc folder && mkfifo pipe && " +
        "touch file && mkdir -p stays/mount stays/other zzz/a && touch stays/other/file");
  const bool mounts = ::mount("none", (stays + "/mount").c_str(), "tmpfs", 0, nullptr) == 0;
  if (!mounts) MESSAGE("partly skipped: may not mount here");
  {
    const auto store = folder.open();
    store->remove_leftovers(nullptr);
    CHECK(folder.files("tmp").size() == (mounts ? 2 : 1));
    CHECK(sys::exists("/etc"));
    if (mounts) CHECK(folder.files("tmp/stays") == std::vector<std::string>{"mount"});
    CHECK(store->put_blob("x", Digest::of("x")));
  }
  if (mounts) REQUIRE(::umount((stays + "/mount").c_str()) == 0);
}
