#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <string>

#include "base/syscalls.h"
#include "pull_fixture.h"
#include "store_fixture.h"
#include "test.h"

using namespace lambdo;
using namespace lambdo::image;

namespace {

pid_t start(const std::string& store, const std::string& reference, const std::string& times) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDOUT_FILENO);
    ::execl(LAMBDO_PULL_PROGRAM, "pull_program", store.c_str(), reference.c_str(), times.c_str(), nullptr);
    ::_exit(127);
  }
  return pid;
}

int finish(pid_t pid) {
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return status;
}

}  // namespace

TEST_CASE("a pull that is killed 50 times at random moments is right in the end and leaves nothing behind") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string reference = registry.push(make_big_layout(folder.around(), 5, 2 << 20), "big:1");
  const auto before_ns = sys::monotonic_ns();
  CHECK(finish(start(folder.path(), reference, "1")) == 0);
  const auto once_ns = sys::monotonic_ns() - before_ns;
  const std::string manifest = folder.files("rootfs").at(0);
  const std::string expected = listing_of(folder.path() + "/rootfs/" + manifest + "/rootfs");
  const auto blobs = folder.files("blobs/sha256");
  REQUIRE(remove_tree(folder.path() + "/rootfs/" + manifest + "/rootfs.listing"));

  std::mt19937_64 random(static_cast<uint64_t>(before_ns));
  int killed = 0;
  for (int i = 0; i < 50; ++i) {
    if (i % 5 == 0) REQUIRE(remove_tree(folder.path() + "/rootfs/" + manifest));
    if (i % 5 == 0)
      REQUIRE(remove_tree(folder.path() + "/blobs/sha256/" + blobs.at(random() % blobs.size())));
    const pid_t pid = start(folder.path(), reference, "3");
    ::usleep(static_cast<useconds_t>(random() % static_cast<uint64_t>(2 * once_ns / 1000)));
    ::kill(pid, SIGKILL);
    const int status = finish(pid);
    if (WIFSIGNALED(status)) ++killed;
    if (WIFEXITED(status)) CHECK(WEXITSTATUS(status) == 0);
    // Whatever is under its final name is whole, at any moment.
    for (const std::string& hex : folder.files("blobs/sha256")) {
      const std::string content = *sys::read_file(folder.path() + "/blobs/sha256/" + hex);
      CHECK(Digest::of(content).hex() == hex);
    }
  }
  CHECK(killed > 25);

  CHECK(finish(start(folder.path(), reference, "1")) == 0);
  CHECK(listing_of(folder.path() + "/rootfs/" + manifest + "/rootfs") == expected);
  CHECK(folder.files("blobs/sha256") == blobs);
  CHECK(folder.files("tmp").empty());
  CHECK(folder.files("locks").empty());
  CHECK(folder.files("damaged").empty());
  CHECK(folder.files("names").size() == 1);
}

TEST_CASE("pulls and prunes of several processes at once do not harm each other") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string big = registry.push(make_big_layout(folder.around(), 3, 1 << 20), "big:1");
  const std::string small = registry.push(make_layout_with_umoci(folder.around()) + ":first", "small:1");
  const pid_t first = start(folder.path(), big, "8");
  const pid_t second = start(folder.path(), small, "8");
  CHECK(finish(first) == 0);
  CHECK(finish(second) == 0);
  const auto store = folder.open();
  const auto listing = store->list();
  REQUIRE(listing);
  CHECK(listing->images.size() == 2);
  for (const ImageSummary& image : listing->images) {
    CHECK(image.complete);
    CHECK(image.rootfs_bytes);
  }
  CHECK(store->prune()->blobs == 0);
}
