#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "base/syscalls.h"
#include "image/store/store.h"
#include "store_fixture.h"
#include "test.h"

using namespace lambdo;
using namespace lambdo::image;

namespace {

void set_name(Store& store, const std::string& reference, const Digest& manifest) {
  REQUIRE(store.set_name(
      {.reference = reference, .manifest = manifest, .platform = {}, .source = {}, .updated_s = 1}));
}

void make_rootfs(Store& store, const Digest& manifest) {
  auto made = store.make_temporary_folder();
  REQUIRE(made);
  REQUIRE(sys::mkdir(made->path() + "/rootfs", 0755));
  REQUIRE(store.keep_rootfs(std::move(*made), manifest, 1000));
}

void make_initramfs(Store& store, const Digest& manifest) {
  auto file = store.new_initramfs();
  REQUIRE(file);
  REQUIRE(sys::write_all(file->fd(), "archive"));
  REQUIRE(store.keep_initramfs(std::move(*file), manifest, "k"));
}

}  // namespace

TEST_CASE("prune takes what no name reaches, and says how much it was") {
  const StoreFolder folder;
  const auto store = folder.open();
  const Digest kept = put_image(*store, {"shared layer", "layer of the kept one"});
  const Digest lost = put_image(*store, {"shared layer", "layer of the lost one"});
  set_name(*store, "kept:1", kept);
  set_name(*store, "lost:1", lost);
  for (const Digest& manifest : {kept, lost}) {
    make_rootfs(*store, manifest);
    make_initramfs(*store, manifest);
  }
  CHECK(store->prune()->blobs == 0);
  CHECK(store->list()->unnamed_bytes == 0);

  REQUIRE(store->remove_name("lost:1"));
  const auto listing = store->list();
  REQUIRE((listing && listing->images.size() == 1));
  CHECK(listing->images[0].complete);
  CHECK(listing->images[0].layers == 2);
  CHECK(listing->images[0].rootfs_bytes == 1000);
  CHECK(listing->images[0].initramfs_bytes == 7);
  CHECK(listing->unnamed_bytes > 0);

  const auto report = store->prune();
  REQUIRE(report);
  CHECK(report->blobs == 3);  // manifest, configuration, the layer that only it had
  CHECK(report->rootfs == 1);
  CHECK(report->initramfs == 1);
  CHECK(report->bytes == listing->unnamed_bytes + 1000 + 7);
  CHECK(store->has_blob(descriptor_of("shared layer")));
  CHECK(store->find_rootfs(kept));
  CHECK_FALSE(store->find_rootfs(lost));
  CHECK(folder.files("blobs/sha256").size() == 4);
  CHECK(folder.files("tmp/" + folder.files("tmp").at(0)).empty());
  CHECK(store->list()->blob_bytes == store->list()->images[0].compressed_bytes);
}

TEST_CASE("prune leaves what somebody has a lease on, also through another store object") {
  const StoreFolder folder;
  const auto store = folder.open();
  const auto other = folder.open();
  const Digest image = put_image(*store, {"a layer"});
  make_rootfs(*store, image);
  {
    const auto lease = other->lease(image);
    REQUIRE(lease);
    const auto second = store->lease(image);
    REQUIRE(second);
    const auto report = store->prune();
    REQUIRE(report);
    CHECK(report->blobs == 0);
    CHECK(report->rootfs == 0);
    CHECK(store->find_rootfs(image));
  }
  CHECK(store->prune()->blobs == 3);
  CHECK_FALSE(store->find_rootfs(image));
  CHECK(folder.files("blobs/sha256").empty());
  CHECK(folder.files("locks").empty());
}

TEST_CASE("a lease on an image that is only just coming keeps the blobs that come after its manifest") {
  const StoreFolder folder;
  const auto store = folder.open();
  const Digest image = put_image(*store, {"first layer", "second layer"});
  const auto lease = store->lease(image);
  REQUIRE(lease);
  // As if the second layer was not there yet.
  REQUIRE(remove_tree(folder.path() + "/blobs/sha256/" + Digest::of("second layer").hex()));
  CHECK(store->prune()->blobs == 0);
  REQUIRE(store->put_blob("second layer", Digest::of("second layer")));
  CHECK(store->prune()->blobs == 0);
}

TEST_CASE("prune goes on where the manifest of a mere name is damaged, and removes its parts") {
  const StoreFolder folder;
  const auto store = folder.open();
  const Digest good = put_image(*store, {"good layer"});
  const Digest bad = put_image(*store, {"bad layer"});
  set_name(*store, "good:1", good);
  set_name(*store, "bad:1", bad);
  write_file(folder.path() + "/blobs/sha256/" + bad.hex(), "{}");
  CHECK_FALSE(store->list()->images[0].complete);
  CHECK(store->list()->images[1].complete);
  REQUIRE(store->prune());
  CHECK(store->has_blob(descriptor_of("good layer")));
  CHECK_FALSE(store->has_blob(descriptor_of("bad layer")));
  CHECK(folder.files("damaged").empty());
  // The name stays, and what is pulled under it again is whole.
  CHECK((*store->find_name("bad:1"))->manifest == bad);
  put_image(*store, {"bad layer"});
  CHECK(store->list()->images[0].complete);
}

TEST_CASE("prune removes nothing while the manifest of an image in use is damaged") {
  const StoreFolder folder;
  const auto store = folder.open();
  const Digest image = put_image(*store, {"a layer"});
  put_image(*store, {"layer of nobody"});
  const auto lease = store->lease(image);
  REQUIRE(lease);
  write_file(folder.path() + "/blobs/sha256/" + image.hex(), "{}");
  // The second time it has been moved away.
  for (int i = 0; i < 2; ++i) {
    const auto pruned = store->prune();
    REQUIRE_FALSE(pruned);
    CHECK(pruned.error().code == Code::store_invalid);
    CHECK_MESSAGE(pruned.error().message.contains(image.text()), pruned.error().message);
    CHECK(store->has_blob(descriptor_of("a layer")));
    CHECK(store->has_blob(descriptor_of("layer of nobody")));
    CHECK_FALSE(store->read_blob(image, 1000));
  }
  put_image(*store, {"a layer"});
  CHECK(store->prune()->blobs == 3);
  CHECK(store->has_blob(descriptor_of("a layer")));
}

TEST_CASE("prune removes nothing where a manifest cannot be read for now") {
  const StoreFolder folder;
  const auto store = folder.open();
  const Digest image = put_image(*store, {"a layer"});
  put_image(*store, {"layer of nobody"});
  set_name(*store, "a:1", image);
  // Reading its first byte fails as on a broken disk.
  const std::string manifest = folder.path() + "/blobs/sha256/" + image.hex();
  if (::mount("/proc/self/mem", manifest.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    MESSAGE("skipped: may not mount here");
    return;
  }
  const auto pruned = store->prune();
  CHECK(folder.files("blobs/sha256").size() == 6);
  REQUIRE(::umount(manifest.c_str()) == 0);
  REQUIRE_FALSE(pruned);
  CHECK_MESSAGE(pruned.error().code == Code::io, pruned.error().message);
  CHECK_MESSAGE(pruned.error().message.contains("nothing was removed"), pruned.error().message);
  CHECK(store->prune()->blobs == 3);
  CHECK(store->list()->images[0].complete);
}

TEST_CASE("a prune that is stopped ends at once, and the rest goes later") {
  const StoreFolder folder;
  const auto other = folder.open();
  constexpr int kFiles = 30'000;
  {
    const auto store = folder.open();
    const std::atomic<bool> stopped = true;
    const Digest image = put_image(*store, {"a layer"});
    set_name(*store, "a:1", image);
    CHECK(store->list(&stopped).error().code == Code::cancelled);
    CHECK(store->prune(10'000, &stopped).error().code == Code::cancelled);
    CHECK(folder.files("blobs/sha256").size() == 3);

    REQUIRE(store->remove_name("a:1"));
    make_rootfs(*store, image);
    const std::string rootfs = *store->find_rootfs(image);
    for (int i = 0; i < kFiles; ++i) write_file(rootfs + "/" + std::to_string(i), "");
    std::atomic<bool> stop = false;
    std::thread stopper([&] {
      while (sys::exists(rootfs)) ::usleep(100);
      stop = true;
    });
    const auto pruned = store->prune(10'000, &stop);
    stopper.join();
    REQUIRE_FALSE(pruned);
    CHECK(pruned.error().code == Code::cancelled);
  }
  CHECK(folder.files("blobs/sha256").empty());
  CHECK(folder.files("rootfs").empty());
  CHECK(folder.files("tmp").size() == 2);
  other->remove_leftovers(nullptr);
  CHECK(folder.files("tmp").size() == 1);
}

TEST_CASE("prune says that the store is busy where somebody does not let go of it") {
  const StoreFolder folder;
  const auto store = folder.open();
  const auto lock = FileLock::try_lock(folder.path() + "/lock", FileLock::Kind::shared);
  REQUIRE((lock && *lock));
  const auto pruned = store->prune(50);
  REQUIRE_FALSE(pruned);
  CHECK(pruned.error().code == Code::store_busy);
  CHECK(store->put_blob("x", Digest::of("x")));
}
