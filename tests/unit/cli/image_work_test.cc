#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/syscalls.h"
#include "cli/exit_codes.h"
#include "cli/image/image.h"
#include "cli/image/remedy.h"
#include "cli/image/session.h"
#include "image/initramfs_writer.h"
#include "image/local_image.h"
#include "store_fixture.h"
#include "tar_builder.h"
#include "test.h"

namespace lambdo::cli {

namespace {

using image::FileLock;
using image::StoreFolder;
using image::Task;

constexpr size_t kDead = 2000;

Task<Result<>> take_lock(std::string path, std::optional<FileLock>& lock) {
  constexpr int kLimitMs = 5000;
  lock = CO_TRY(FileLock::lock(path, FileLock::Kind::exclusive, kLimitMs));
  co_return Result<>();
}

/// Runs a command on a store with leftovers none of which can be removed for `held_ms`. Gives how many there
/// are at its end.
size_t leftovers_after(Leftovers leftovers, int held_ms) {
  const StoreFolder folder;
  REQUIRE(folder.open());
  for (size_t i = 0; i < kDead; ++i) {
    REQUIRE(sys::mkdir(folder.path() + "/tmp/dead" + std::to_string(i), 0700));
  }
  config::Config config;
  config.images.store = folder.path();
  std::optional<FileLock> lock;
  std::jthread release;
  const ImageWork work = [&](image::ImageServices& /*services*/, reactor::CancelToken /*token*/) {
    release = std::jthread([&lock, held_ms] {
      std::this_thread::sleep_for(std::chrono::milliseconds(held_ms));
      lock.reset();
    });
    return take_lock(folder.path() + "/opening", lock);
  };
  CHECK(run_image_work({.name = "image ls", .settings = {}}, config, work, leftovers) == kExitOk);
  const size_t left = folder.files("tmp").size();
  release.join();
  return left;
}

/// Archives of `count` empty files, no two layers the same.
std::string layer_of(size_t count, const std::string& name) {
  std::vector<image::fixture::TarEntry> entries;
  for (size_t i = 0; i < count; ++i) entries.push_back(image::fixture::file(name + std::to_string(i), ""));
  return image::fixture::tar(entries);
}

Task<Result<>> write_and_close(image::ImageServices& services, const image::LocalImage& image,
                               std::string path) {
  const auto written = co_await image::write_image_initramfs(services, image, {}, std::move(path), {});
  co_await services.close();
  co_return written;
}

Result<> write_with(const StoreFolder& folder, const std::vector<std::string>& layers,
                    uint64_t max_unpacked_bytes, const std::string& path) {
  auto reactor = TRY(reactor::Reactor::create());
  config::Config config;
  config.registries.caps.max_unpacked_bytes = max_unpacked_bytes;
  auto services = TRY(image::ImageServices::create(*reactor, {folder.path(), config.registries, {}}));
  const image::Digest manifest = image::put_image(services->store(), layers);
  const auto image = TRY(image::load_image(services->store(), manifest));
  return reactor->run(write_and_close(*services, image, path));
}

}  // namespace

TEST_CASE("a command does not wait until all is removed that killed ones left, unless it is asked to") {
  constexpr int kLongMs = 4000;
  constexpr int kShortMs = 1500;
  CHECK(leftovers_after(Leftovers::briefly, kLongMs) > 0);
  CHECK(leftovers_after(Leftovers::all, kShortMs) == 0);
}

TEST_CASE("the limit of what is unpacked is that of all layers together for a file of its own, too") {
  const StoreFolder folder;
  const std::string path = folder.around() + "/out.img";
  const std::vector<std::string> layers = {layer_of(20, "a"), layer_of(20, "b")};
  const uint64_t bytes = layers[0].size() + layers[1].size();
  const auto refused = write_with(folder, layers, bytes - 1, path);
  REQUIRE_FALSE(refused);
  CHECK_MESSAGE(refused.error().code == Code::image_too_large, refused.error().message);
  CHECK_MESSAGE(refused.error().message.contains("the image's layers"), refused.error().message);
  CHECK_FALSE(sys::exists(path));
  CHECK_FALSE(sys::exists(path + ".lambdo-part"));
  CHECK(folder.files("tmp").empty());
  const auto written = write_with(folder, layers, bytes, path);
  CHECK_MESSAGE(written, written.error().message);
  CHECK(sys::exists(path));
  CHECK(folder.files("tmp").empty());
}

TEST_CASE("names that are given twice to be removed are removed once, and all or none") {
  const StoreFolder folder;
  const auto store = folder.open();
  const image::Digest manifest = image::put_image(*store, {"layer"});
  for (const char* name : {"one", "two", "three"}) {
    const std::string reference = std::string("docker.io/library/") + name + ":1";
    REQUIRE(store->set_name({.reference = reference, .manifest = manifest, .platform = {}, .source = name}));
  }
  ImageOptions options{.verb = &kImageRm};
  options.settings.store = folder.path();
  options.images = {"one:1", "two:1", "missing:1"};
  CHECK(run_image(options) == kExitFailure);
  CHECK(store->names()->size() == 3);
  options.images = {"one:1", "docker.io/library/one:1", "one:1", "two:1"};
  CHECK(run_image(options) == kExitOk);
  REQUIRE(store->names()->size() == 1);
  CHECK(store->names()->front().reference == "docker.io/library/three:1");
}

TEST_CASE(
    "what to do about an image that is too large names the limits that there are, and says that others are "
    "fixed") {
  const std::string text = remedy({Code::image_too_large, 0, "too large"});
  for (const char* part : {"registries.max_layers", "max_compressed_mb", "max_unpacked_mb", "fixed"}) {
    CHECK_MESSAGE(text.contains(part), part);
  }
}

}  // namespace lambdo::cli
