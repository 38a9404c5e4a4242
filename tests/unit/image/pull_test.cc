#include "image/pull.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "pull_fixture.h"
#include "reactor/scope.h"
#include "store_fixture.h"
#include "test.h"

namespace {

/// Of locks that are let go (Store's, with their files) while `watched_thread` is set: on that thread.
std::atomic<pid_t> watched_thread = 0;
std::atomic<int> locks_on_watched_thread = 0;

}  // namespace

/// Before the C library's, so that tests see who calls it.
extern "C" int flock(int fd, int operation) noexcept {
  if (::gettid() == watched_thread) ++locks_on_watched_thread;
  return static_cast<int>(::syscall(SYS_flock, fd, operation));
}

using namespace lambdo;
using namespace lambdo::image;

namespace {

/// Notes what it is told, and can cancel at the first byte.
class Recorder final : public Progress {
 public:
  void found(const Digest& /*manifest*/, std::span<const Descriptor> layers) override {
    phases.resize(layers.size());
    for (const Descriptor& layer : layers) totals.push_back(layer.size_bytes);
  }
  void layer(size_t index, LayerPhase phase, uint64_t done, uint64_t total) override {
    auto& seen = phases.at(index);
    if (seen.empty() || seen.back() != phase) seen.push_back(phase);
    if (phase == LayerPhase::fetching) {
      CHECK(total == totals.at(index));
      CHECK(done <= total);
      if (cancel_at_first_byte != nullptr) cancel_at_first_byte->cancel();
    }
    if (phase == LayerPhase::unpacking && cancel_at_unpacking != nullptr) cancel_at_unpacking->cancel();
  }
  void writing() override { ++writings; }

  std::vector<std::vector<LayerPhase>> phases;
  std::vector<uint64_t> totals;
  int writings = 0;
  reactor::CancelSource* cancel_at_first_byte = nullptr;
  reactor::CancelSource* cancel_at_unpacking = nullptr;
};

Task<> pull_into(Puller& puller, PullRequest request, std::optional<Result<PulledImage>>& result) {
  result.emplace(co_await puller.pull(std::move(request), nullptr, {}));
}

void check_empty_tmp(const StoreFolder& folder) {
  for (const std::string& session : folder.files("tmp")) CHECK(folder.files("tmp/" + session).empty());
}

}  // namespace

TEST_CASE("a pull brings an image, and what is in the store is not fetched again") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string layout = make_layout_with_umoci(folder.around());
  for (const std::string format : {"oci", "v2s2"}) {
    const auto store = folder.open();
    const std::string reference = registry.push(layout + ":first", "app:" + format, "--format " + format);
    TestPuller puller(*store, registry.host());
    const size_t before = registry.blob_requests();
    Recorder progress;
    const auto pulled = puller.pull(request_for(reference), &progress);
    REQUIRE_MESSAGE(pulled, pulled.error().message);
    CHECK(pulled->image.config.working_dir == "/work");
    CHECK(pulled->image.config.variable("GREETING") == "hello");
    CHECK_FALSE(pulled->rootfs);
    for (const Descriptor& layer : pulled->image.manifest.layers) CHECK(store->verify_blob(layer, nullptr));
    const auto name = store->find_name(reference);
    REQUIRE((name && *name));
    CHECK((*name)->manifest == pulled->image.digest);
    REQUIRE(progress.phases.size() == 2);
    for (const auto& phases : progress.phases) CHECK(phases.back() == LayerPhase::fetched);

    const size_t after = registry.blob_requests();
    if (format == "oci") CHECK(after - before == 3);
    const auto again = puller.pull(request_for(reference));
    REQUIRE(again);
    CHECK_FALSE(again->fetched_anything);
    CHECK(registry.blob_requests() == after);
    PullRequest request = request_for(reference);
    request.policy = PullRequest::Policy::if_missing;
    const size_t all = registry.requests().size();
    CHECK(puller.pull(request));
    request.policy = PullRequest::Policy::never;
    CHECK(puller.pull(request));
    CHECK(registry.requests().size() == all);
    request.platform.architecture = "arm64";
    CHECK(puller.pull(request).error().code == Code::not_found);
    request.policy = PullRequest::Policy::always;
    CHECK(puller.pull(request).error().code == Code::platform_missing);
    check_empty_tmp(folder);
  }
}

TEST_CASE("the unpacked image is what umoci unpacks, whether it is made while it comes or afterwards") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string layout = make_big_layout(folder.around(), 6, 1 << 20);
  const std::string reference = registry.push(layout, "big:1");
  const bool is_root = ::geteuid() == 0;
  shell("umoci unpack " + std::string(is_root ? "" : "--rootless ") + "--image " + layout + " " +
        folder.around() + "/bundle");
  const std::string expected = listing_of(folder.around() + "/bundle/rootfs");
  const auto store = folder.open();
  TestPuller puller(*store, registry.host());
  Recorder progress;
  const auto pulled = puller.pull(request_for(reference, true), &progress);
  REQUIRE_MESSAGE(pulled, pulled.error().message);
  REQUIRE(pulled->rootfs);
  CHECK(listing_of(*pulled->rootfs) == expected);
  CHECK(progress.writings == 1);
  for (const auto& phases : progress.phases) CHECK(phases.back() == LayerPhase::unpacked);
  // It is there, so it is not made again.
  Recorder again;
  CHECK(*puller.pull(request_for(reference, true), &again)->rootfs == *pulled->rootfs);
  CHECK(again.writings == 0);

  REQUIRE(remove_tree(folder.path() + "/rootfs/" + pulled->image.digest.hex()));
  const auto image = puller.reactor().run(puller.puller().load(pulled->image.digest, {}));
  REQUIRE(image);
  const auto path = puller.reactor().run(puller.puller().rootfs(*image, nullptr, {}));
  REQUIRE_MESSAGE(path, path.error().message);
  CHECK(listing_of(*path) == expected);
  check_empty_tmp(folder);
  CHECK(store->list()->images.at(0).rootfs_bytes.value_or(0) > 6 << 20);
}

TEST_CASE("a boot archive is made once for a key, and holds the extra files") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string reference = registry.push(make_layout_with_umoci(folder.around()) + ":first", "app:1");
  const auto store = folder.open();
  TestPuller puller(*store, registry.host());
  const auto pulled = puller.pull(request_for(reference));
  REQUIRE_MESSAGE(pulled, pulled.error().message);
  write_file(folder.around() + "/init", "#!/bin/sh\n");
  const auto init = sys::open(folder.around() + "/init", O_RDONLY);
  REQUIRE(init);
  InitramfsRequest request{.key = "k1", .options = {}};
  request.options.last.push_back({.name = "init", .mode = 0755, .fd = init->get()});
  const auto make = [&] {
    return puller.reactor().run(puller.puller().initramfs(pulled->image, request, nullptr, {}));
  };
  const auto path = make();
  REQUIRE_MESSAGE(path, path.error().message);
  shell("mkdir " + folder.around() + "/boot && cd " + folder.around() + "/boot && cpio -idm --quiet < " +
        *path);
  CHECK(*sys::read_file(folder.around() + "/boot/etc/name") == "upper\n");
  CHECK(*sys::read_file(folder.around() + "/boot/init") == "#!/bin/sh\n");
  CHECK_FALSE(sys::exists(folder.around() + "/boot/etc/gone"));
  write_file(*path, "marked");
  CHECK(*make() == *path);
  CHECK(*sys::read_file(*path) == "marked");
  request.key = "k2";
  CHECK(*make() != *path);
  check_empty_tmp(folder);
}

TEST_CASE("what several pulls want at once is fetched once") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string reference = registry.push(make_big_layout(folder.around(), 4, 1 << 20), "big:1");
  const auto store = folder.open();
  TestPuller puller(*store, registry.host());
  std::vector<std::optional<Result<PulledImage>>> results(6);
  const size_t before = registry.blob_requests();
  puller.reactor().run(
      [](TestPuller& own, std::string text, std::vector<std::optional<Result<PulledImage>>>& into) -> Task<> {
        reactor::Scope scope(own.reactor());
        for (size_t i = 0; i < into.size(); ++i) {
          scope.spawn(pull_into(own.puller(), request_for(text, i % 2 == 0), into[i]));
        }
        co_await scope.join();
      }(puller, reference, results));
  for (const auto& result : results) {
    REQUIRE(result);
    REQUIRE_MESSAGE(*result, result->error().message);
  }
  CHECK(registry.blob_requests() - before == 5);
  CHECK(folder.files("rootfs").size() == 1);
  check_empty_tmp(folder);
}

TEST_CASE("what two processes want at once is fetched once") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string reference = registry.push(make_big_layout(folder.around(), 4, 4 << 20), "big:1");
  const size_t before = registry.blob_requests();
  const std::string program = LAMBDO_PULL_PROGRAM " " + folder.path() + " " + reference + " 1";
  shell(program + " > /dev/null & one=$!; " + program + " > /dev/null & two=$!; wait $one; wait $two");
  CHECK(registry.blob_requests() - before == 5);
  CHECK(folder.files("rootfs").size() == 1);
  CHECK(folder.files("tmp").empty());
  CHECK(folder.files("locks").empty());
}

TEST_CASE("a cancelled pull leaves what was whole, and nothing else") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string reference = registry.push(make_big_layout(folder.around(), 5, 2 << 20), "big:1");
  const auto store = folder.open();
  TestPuller puller(*store, registry.host());
  for (const bool while_unpacking : {false, true}) {
    reactor::CancelSource source;
    Recorder progress;
    (while_unpacking ? progress.cancel_at_unpacking : progress.cancel_at_first_byte) = &source;
    const auto pulled = puller.pull(request_for(reference, true), &progress, source.token());
    REQUIRE_FALSE(pulled);
    CHECK(pulled.error().code == Code::cancelled);
    check_empty_tmp(folder);
    CHECK(folder.files("rootfs").empty());
    CHECK(folder.files("names").empty());
    for (const std::string& hex : folder.files("blobs/sha256")) {
      CHECK(store->read_blob(*Digest::parse("sha256:" + hex), 64 << 20));
    }
  }
  CHECK(puller.pull(request_for(reference, true)));
}

TEST_CASE("locks are taken and let go beside the loop, however a pull ends") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string reference = registry.push(make_big_layout(folder.around(), 3, 1 << 20), "big:1");
  const auto store = folder.open();
  TestPuller puller(*store, registry.host());
  TestPuller strict(*store, registry.host(), {.limits = {.max_unpacked_bytes = 1 << 20}});
  std::optional<Result<PulledImage>> pulled;
  std::optional<Result<std::string>> archive;
  locks_on_watched_thread = 0;
  watched_thread = ::gettid();
  for (const bool while_unpacking : {false, true}) {
    reactor::CancelSource source;
    Recorder progress;
    (while_unpacking ? progress.cancel_at_unpacking : progress.cancel_at_first_byte) = &source;
    CHECK_FALSE(puller.pull(request_for(reference, true), &progress, source.token()));
  }
  CHECK_FALSE(strict.pull(request_for(reference, true)));
  pulled = puller.pull(request_for(reference, true));
  if (*pulled) {
    const InitramfsRequest request{.key = "k", .options = {}};
    archive = puller.reactor().run(puller.puller().initramfs((*pulled)->image, request, nullptr, {}));
  }
  watched_thread = 0;
  REQUIRE_MESSAGE(*pulled, pulled->error().message);
  REQUIRE(archive);
  CHECK(*archive);
  CHECK(locks_on_watched_thread == 0);
  CHECK(folder.files("locks").size() == 1);  // the lease of `pulled`
}

TEST_CASE("a damaged layer in the store is found while it is unpacked, and fetched again") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string reference = registry.push(make_big_layout(folder.around(), 3, 1 << 20), "big:1");
  const auto store = folder.open();
  TestPuller puller(*store, registry.host());
  const auto pulled = puller.pull(request_for(reference));
  REQUIRE(pulled);
  const Descriptor layer = pulled->image.manifest.layers[1];
  const std::string path = folder.path() + "/blobs/sha256/" + layer.digest.hex();
  const std::string content = *sys::read_file(path);
  // In the header, early, in the middle, in the checksum, and so that the size is another one too. Bits that
  // no decompressor looks at (deflate's padding) may differ: the layer is what it should be all the same.
  std::vector<std::string> damaged(5, content);
  damaged[0][0] ^= 1;
  damaged[1][200] ^= 1;
  damaged[2][content.size() / 2] ^= 1;
  damaged[3][content.size() - 6] ^= 1;
  damaged[4].resize(content.size() / 2);
  for (const std::string& wrong : damaged) {
    REQUIRE(remove_tree(folder.path() + "/rootfs/" + pulled->image.digest.hex()));
    write_file(path, wrong);
    const auto again = puller.pull(request_for(reference, true));
    REQUIRE_MESSAGE(again, again.error().message);
    CHECK(*sys::read_file(path) == content);
    // Where nobody may fetch it, it is said.
    REQUIRE(remove_tree(folder.path() + "/rootfs/" + pulled->image.digest.hex()));
    write_file(path, wrong);
    const auto made = puller.reactor().run(puller.puller().rootfs(again->image, nullptr, {}));
    REQUIRE_FALSE(made);
    CHECK_MESSAGE(made.error().code == Code::store_invalid, made.error().message);
    CHECK_FALSE(sys::exists(path));
  }
  check_empty_tmp(folder);
}

TEST_CASE("limits refuse an image before or while it comes") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string reference = registry.push(make_big_layout(folder.around(), 3, 1 << 20), "big:1");
  const auto store = folder.open();
  const std::vector<ImageLimits> limits = {
      {.max_layers = 2}, {.max_compressed_bytes = 2 << 20}, {.max_unpacked_bytes = 2 << 20}};
  for (const ImageLimits& limit : limits) {
    TestPuller puller(*store, registry.host(), {.limits = limit});
    const auto pulled = puller.pull(request_for(reference, true));
    REQUIRE_FALSE(pulled);
    CHECK_MESSAGE(pulled.error().code == Code::image_too_large, pulled.error().message);
    CHECK(folder.files("rootfs").empty());
    CHECK(folder.files("names").empty());
    check_empty_tmp(folder);
  }
}

TEST_CASE("a full disk is told by the store's folder") {
  const StoreFolder folder;
  const RealRegistry registry(folder.around());
  const std::string reference = registry.push(make_big_layout(folder.around(), 3, 4 << 20), "big:1");
  const std::string small = folder.around() + "/small";
  REQUIRE(sys::mkdir(small, 0700));
  if (std::system(("mount -t tmpfs -o size=6m,mode=0700 none " + small).c_str()) != 0) {
    MESSAGE("skipped: may not mount here");
    return;
  }
  {
    auto store = Store::open(small);
    REQUIRE(store);
    TestPuller puller(**store, registry.host());
    const auto pulled = puller.pull(request_for(reference, true));
    CHECK_FALSE(pulled);
    if (!pulled) {
      CHECK(pulled.error().code == Code::resource_exhausted);
      CHECK_MESSAGE(pulled.error().message.contains(small), pulled.error().message);
    }
    CHECK((*store)->prune());
    for (const std::string& session : *sys::list_directory(small + "/tmp")) {
      CHECK(sys::list_directory(small + "/tmp/" + session)->empty());
    }
  }
  shell("umount " + small);
}
