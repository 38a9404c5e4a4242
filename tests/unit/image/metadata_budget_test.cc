#include "image/layers/metadata_budget.h"

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "base/syscalls.h"
#include "image/unpack.h"
#include "image_fixture.h"
#include "pull_fixture.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "store_fixture.h"
#include "test.h"

namespace lambdo::image {

using namespace fixture;

namespace {

Result<Layer> read(Workshop& workshop, const std::vector<TarEntry>& entries, MetadataBudget& budget) {
  const std::string archive = tar(entries);
  return read_layer(
      {.read = read_blob(archive), .media_type = std::string(registry::media_type::kOciLayer), .diff_id = {}},
      workshop.spool(), {}, workshop.stop, &budget);
}

/// `count` links with targets as long as they may be, no two the same.
std::string archive_of_long_links(size_t count, size_t number) {
  std::vector<TarEntry> entries;
  for (size_t i = 0; i < count; ++i) {
    std::string target = std::to_string(number) + "-" + std::to_string(i) + "-";
    target.resize(4095, 'x');
    entries.push_back(symlink("links/" + std::to_string(i), std::move(target)));
  }
  return tar(entries);
}

/// The most memory that this process has had, in bytes.
size_t most_memory() {
  constexpr std::string_view kField = "VmHWM:";
  const std::string status = sys::read_file("/proc/self/status").value();
  size_t at = status.find(kField) + kField.size();
  at = status.find_first_of("0123456789", at);
  size_t kib = 0;
  std::from_chars(status.data() + at, status.data() + status.size(), kib);
  return kib << 10;
}

/// Notes which layers were ever begun.
class Begun final : public Progress {
 public:
  void found(const registry::Digest& /*manifest*/, std::span<const Descriptor> /*layers*/) override {}
  void layer(size_t index, LayerPhase phase, uint64_t /*done*/, uint64_t /*total*/) override {
    if (phase == LayerPhase::unpacking) indexes.push_back(index);
  }
  std::vector<size_t> indexes;
};

Task<> add(Unpacking& unpacking, size_t index, const std::string& archive, size_t& done) {
  const auto added = co_await unpacking.add(index, descriptor_of(archive, registry::media_type::kOciLayer),
                                            Digest::of(archive), {});
  CHECK_MESSAGE(added, added.error().message);
  ++done;
}

Task<> add_from_above(reactor::Reactor& reactor, Unpacking& unpacking,
                      const std::vector<std::string>& archives, const Begun& begun) {
  CHECK(co_await unpacking.begin());
  size_t done = 0;
  reactor::Scope scope(reactor);
  for (size_t i = archives.size(); i-- > 1;) scope.spawn(add(unpacking, i, archives[i], done));
  while (done + 1 < Unpacking::kReadAhead) CHECK(co_await reactor::SleepOp::for_ms(reactor, 1));
  CHECK(co_await reactor::SleepOp::for_ms(reactor, 20));
  CHECK(begun.indexes.size() == Unpacking::kReadAhead - 1);
  CHECK(std::ranges::max(begun.indexes) < Unpacking::kReadAhead);
  scope.spawn(add(unpacking, 0, archives[0], done));
  co_await scope.join();
  CHECK(done == archives.size());
  co_await unpacking.end();
}

}  // namespace

TEST_CASE("the limits of entries and memory are those of all layers together") {
  Workshop workshop;
  MetadataBudget few({.entries = 3});
  REQUIRE(read(workshop, {file("a"), file("b")}, few));
  const auto fourth = read(workshop, {file("c"), file("d")}, few);
  REQUIRE_FALSE(fourth);
  CHECK(fourth.error().code == Code::image_too_large);
  CHECK_MESSAGE(fourth.error().message.contains("more than 3 entries"), fourth.error().message);

  MetadataBudget small({.bytes = 6000});
  const std::string target(2500, 'x');
  REQUIRE(read(workshop, {symlink("a", target)}, small));
  REQUIRE(read(workshop, {symlink("a", target)}, small));
  const auto third = read(workshop, {symlink("a", target)}, small);
  REQUIRE_FALSE(third);
  CHECK(third.error().code == Code::image_too_large);
  CHECK_MESSAGE(third.error().message.contains("6000 bytes of memory"), third.error().message);
}

TEST_CASE("a layer that turns out to be bad gives back what it has taken") {
  Workshop workshop;
  MetadataBudget budget({.entries = 3, .bytes = 2000});
  for (int i = 0; i < 10; ++i) {
    const auto bad = read(workshop, {symlink("a", std::string(1000, 'x')), file("../b")}, budget);
    REQUIRE_FALSE(bad);
    CHECK(bad.error().code == Code::path_escape);
  }
  CHECK(read(workshop, {symlink("a", std::string(1000, 'x')), file("b")}, budget));
}

TEST_CASE("what a tree keeps counts, also folders that no entry names and names that are gone") {
  Workshop workshop;
  std::string deep;
  for (int i = 0; i < 2000; ++i) deep += "d/";
  const auto layer = workshop.read(tar({file(deep + "f")}));
  REQUIRE(layer);
  Tree folders({}, std::make_shared<MetadataBudget>(MetadataBudget::Limits{.bytes = 100'000}));
  CHECK(folders.apply(*layer, workshop.stop).error().code == Code::image_too_large);

  const auto link = workshop.read(tar({symlink("a", std::string(1000, 'x')), file(".wh.a", "")}));
  REQUIRE(link);
  Tree replaced({}, std::make_shared<MetadataBudget>(MetadataBudget::Limits{.bytes = 20'000}));
  size_t count = 0;
  Result<> applied;
  while (applied && count < 100) {
    applied = replaced.apply(*link, workshop.stop);
    ++count;
  }
  CHECK(applied.error().code == Code::image_too_large);
  CHECK(count > 10);
}

TEST_CASE("what every layer has again is kept once") {
  Workshop workshop;
  TarEntry tagged = folder("d");
  tagged.pax = {{"SCHILY.xattr.user.a", std::string(1000, 'a')}};
  std::vector<TarEntry> entries = {tagged, file("name-of-some-length")};
  for (int i = 0; i < 20; ++i) {
    entries.push_back(tagged);
    entries.back().name = "d" + std::to_string(i);
  }
  MetadataBudget small({.bytes = 8000});
  const auto layer = read(workshop, entries, small);
  REQUIRE_MESSAGE(layer, layer.error().message);
  Tree tree({}, std::make_shared<MetadataBudget>(MetadataBudget::Limits{.bytes = 8000}));
  for (int i = 0; i < 100; ++i) REQUIRE(tree.apply(*layer, workshop.stop));
  CHECK(tree.xattrs(tree.inode_of(tree.find("d19"))).front().value == std::string(1000, 'a'));
}

TEST_CASE("an image of layers that are nothing but names is refused before it takes much memory") {
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  constexpr bool kSeesMemory = false;
  MESSAGE(
      "partly skipped: with a sanitizer a process's memory is not its own; only the refusal is looked at");
#else
  constexpr bool kSeesMemory = true;
#endif
  constexpr size_t kLayers = 24;
  constexpr size_t kCapBytes = 16 << 20;
  const StoreFolder folder;
  const auto store = folder.open();
  Digest manifest;
  {
    // 4 MiB of targets each, all for the same names.
    std::vector<std::string> layers;
    for (size_t i = 0; i < kLayers; ++i) layers.push_back(archive_of_long_links(1000, i));
    manifest = put_image(*store, layers);
  }
  ::malloc_trim(0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const size_t before = most_memory();
    TestPuller puller(*store, "localhost:1", {.limits = {.max_metadata_bytes = kCapBytes}});
    auto image = puller.reactor().run(puller.puller().load(manifest, {}));
    const auto made = puller.reactor().run(puller.puller().rootfs(*image, nullptr, {}));
    const size_t taken = most_memory() - before;
    int status = 0;
    if (made || made.error().code != Code::image_too_large) status = 1;
    if (kSeesMemory && status == 0 && taken > 2 * kCapBytes) status = 2;
    std::printf("%zu MiB at most of a cap of %zu MiB: %s\n", taken >> 20, kCapBytes >> 20,
                made ? "unpacked" : made.error().message.c_str());
    std::fflush(stdout);
    ::_exit(status);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("no layer is read that is far above the lowest that is missing") {
  const StoreFolder folder;
  const auto store = folder.open();
  std::vector<std::string> archives;
  for (size_t i = 0; i < 3 * Unpacking::kReadAhead; ++i) {
    archives.push_back(tar({file("file" + std::to_string(i))}));
    REQUIRE(store->put_blob(archives.back(), Digest::of(archives.back())));
  }
  const auto reactor = reactor::Reactor::create().value();
  reactor::BlockingPool pool(*reactor, 4);
  Semaphore unpacks(*reactor, 2);
  Begun begun;
  Unpacking unpacking(*reactor, pool, *store, unpacks, archives.size(), {}, &begun);
  reactor->run(add_from_above(*reactor, unpacking, archives, begun));
}

}  // namespace lambdo::image
