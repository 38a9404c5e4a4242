#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "base/syscalls.h"
#include "image/layouts/docker_archive.h"
#include "image/layouts/oci_layout.h"
#include "image/local_image.h"
#include "store_fixture.h"
#include "test.h"

using namespace lambdo;
using namespace lambdo::image;

namespace {

constexpr std::atomic<bool> kGoOn = false;

LocalImage some_image(Store& store, const std::vector<std::string>& layers) {
  auto image = load_image(store, put_image(store, layers));
  REQUIRE(image);
  return *std::move(image);
}

/// From here on fsync(2) fails in this process as on a disk that is going.
void break_fsync() {
  std::array<sock_filter, 4> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter = {.len = program.size(), .filter = program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    ::_exit(3);
  }
}

/// Whether `exporting` fails with EIO in a process whose fsync(2) does.
template <typename Export>
bool fails_without_fsync(Export exporting) {
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    break_fsync();
    const Result<> done = exporting();
    ::_exit(!done && done.error().os_errno == EIO ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void flip_byte(const std::string& path, off_t at) {
  const auto fd = sys::open(path, O_RDWR);
  REQUIRE(fd);
  char byte = 0;
  REQUIRE(::pread(fd->get(), &byte, 1, at) == 1);
  byte ^= 1;
  REQUIRE(::pwrite(fd->get(), &byte, 1, at) == 1);
}

}  // namespace

TEST_CASE("exports into one layout at the same time lose none of the images") {
  const StoreFolder folder;
  const auto store = folder.open();
  const LocalImage image = some_image(*store, {"layer one", "layer two"});
  const std::string out = folder.around() + "/out";
  constexpr int kExports = 8;
  std::atomic<int> failed = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kExports; ++i) {
      threads.emplace_back([&, i] {
        for (int again = 0; again < 3; ++again) {
          const std::string tag = "tag" + std::to_string(i) + "-" + std::to_string(again);
          if (!export_oci_layout(*store, image, out, tag, kGoOn)) ++failed;
        }
      });
    }
  }
  CHECK(failed == 0);
  shell("umoci list --layout " + out + " | sort | uniq | wc -l > " + folder.around() + "/count");
  CHECK(*sys::read_file(folder.around() + "/count") == std::to_string(kExports * 3) + "\n");
  shell("umoci ls --layout " + out + " | grep -q '^tag3-2$'");
}

TEST_CASE("an export that waits for another one ends when it is stopped") {
  const StoreFolder folder;
  const auto store = folder.open();
  const LocalImage image = some_image(*store, {"layer one"});
  const std::string out = folder.around() + "/out";
  REQUIRE(export_oci_layout(*store, image, out, "first", kGoOn));
  const auto other = sys::open(out, O_RDONLY | O_DIRECTORY);
  REQUIRE((other && ::flock(other->get(), LOCK_EX) == 0));
  std::atomic<bool> stop = false;
  std::jthread stopper([&stop] {
    ::usleep(50'000);
    stop = true;
  });
  const auto exported = export_oci_layout(*store, image, out, "second", stop);
  REQUIRE_FALSE(exported);
  CHECK(exported.error().code == Code::cancelled);
}

TEST_CASE("what a killed export left in a layout goes with the next one") {
  const StoreFolder folder;
  const auto store = folder.open();
  const LocalImage image = some_image(*store, {"layer one"});
  const std::string out = folder.around() + "/out";
  REQUIRE(export_oci_layout(*store, image, out, "first", kGoOn));
  shell("cd " + out + " && touch .index.json.lambdo-part blobs/sha256/." + Digest::of("x").hex() +
        ".lambdo-part && chmod 0 .index.json.lambdo-part && touch .mine");
  REQUIRE(export_oci_layout(*store, image, out, "second", kGoOn));
  CHECK(*sys::list_directory(out) == std::vector<std::string>{".mine", "blobs", "index.json", "oci-layout"});
  CHECK(sys::list_directory(out + "/blobs/sha256")->size() == 3);
}

TEST_CASE("an export that cannot be brought to the disk is an error, and nothing half-made is there") {
  const StoreFolder folder;
  const auto store = folder.open();
  const LocalImage image = some_image(*store, {"layer one"});
  const std::string layout = folder.around() + "/layout";
  const std::string archive = folder.around() + "/archive.tar";
  CHECK(fails_without_fsync([&] { return export_oci_layout(*store, image, layout, "x", kGoOn); }));
  CHECK(sys::list_directory(layout + "/blobs/sha256")->empty());
  CHECK_FALSE(sys::exists(layout + "/index.json"));
  CHECK(fails_without_fsync([&] { return export_docker_archive(*store, image, archive, "x:1", {}, kGoOn); }));
  CHECK_FALSE(sys::exists(archive));
  CHECK_FALSE(sys::exists(archive + ".lambdo-part"));
}

TEST_CASE("an archive's layers may be as large together as the limits say, and no larger") {
  const StoreFolder folder;
  const auto store = folder.open();
  const auto packed =
      import_oci_layout(*store, make_layout_with_umoci(folder.around()), "first", {}, {}, kGoOn);
  REQUIRE(packed);
  const std::string archive = folder.around() + "/archive.tar";
  REQUIRE(export_docker_archive(*store, *packed, archive, "x:1", {}, kGoOn));
  // Each of the two layers is one block of tar.
  constexpr uint64_t kLayerBytes = 10240;
  const LocalImage plain = some_image(*store, {std::string(kLayerBytes, 'x'), std::string(kLayerBytes, 'y')});
  for (const LocalImage* image : {&*packed, &plain}) {
    REQUIRE(remove_tree(archive));
    const ImageLimits few = {.max_unpacked_bytes = 2 * kLayerBytes - 1};
    const auto exported = export_docker_archive(*store, *image, archive, "x:1", few, kGoOn);
    REQUIRE_FALSE(exported);
    CHECK_MESSAGE(exported.error().code == Code::image_too_large, exported.error().message);
    CHECK_FALSE(sys::exists(archive));
    CHECK(export_docker_archive(*store, *image, archive, "x:1", {.max_unpacked_bytes = 2 * kLayerBytes},
                                kGoOn));
  }
}

TEST_CASE("a blob that an export finds damaged is moved away for the next pull, and no archive is left") {
  const StoreFolder folder;
  const auto store = folder.open();
  const std::string layout = make_layout_with_umoci(folder.around());
  const auto packed = import_oci_layout(*store, layout, "first", {}, {}, kGoOn);
  REQUIRE(packed);
  const LocalImage plain = some_image(*store, {std::string(1000, 'x')});
  const std::string archive = folder.around() + "/archive.tar";
  for (const LocalImage* image : {&*packed, &plain}) {
    const Descriptor& layer = image->manifest.layers.front();
    const std::string blob = folder.path() + "/blobs/sha256/" + layer.digest.hex();
    // In the header of gzip, in what is compressed, and in the sum at its end.
    for (const off_t at : {off_t{1}, off_t{40}, static_cast<off_t>(layer.size_bytes) - 6}) {
      const std::string good = *sys::read_file(blob, 1 << 20);
      INFO(layer.media_type, " ", at);
      flip_byte(blob, at);
      const auto exported = export_docker_archive(*store, *image, archive, "x:1", {}, kGoOn);
      REQUIRE_FALSE(exported);
      CHECK_MESSAGE(exported.error().code == Code::store_invalid, exported.error().message);
      CHECK_FALSE(store->has_blob(layer));
      CHECK_FALSE(sys::exists(archive));
      REQUIRE(store->put_blob(good, layer.digest));
    }
    CHECK(export_docker_archive(*store, *image, archive, "x:1", {}, kGoOn));
    REQUIRE(remove_tree(archive));
  }
}
