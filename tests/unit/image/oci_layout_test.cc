#include "image/layouts/oci_layout.h"

#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "image/image_manifest.h"
#include "image/layouts/transfer.h"
#include "store_fixture.h"
#include "test.h"

using namespace lambdo;
using namespace lambdo::image;

namespace {

const std::atomic<bool> kGoOn = false;

Result<LocalImage> import(Store& store, const std::string& folder, const std::string& tag = "",
                          const Platform& platform = {}, const ImageLimits& limits = {}) {
  return import_oci_layout(store, folder, tag, platform, limits, kGoOn);
}

}  // namespace

TEST_CASE("a place is a kind, a path and perhaps a name") {
  const auto layout = ImagePlace::parse("oci:/tmp/a:tag:more");
  REQUIRE(layout);
  CHECK(layout->kind == ImagePlace::Kind::oci_layout);
  CHECK(layout->path == "/tmp/a");
  CHECK(layout->name == "tag:more");
  const auto archive = ImagePlace::parse("docker-archive:a.tar");
  REQUIRE(archive);
  CHECK(archive->kind == ImagePlace::Kind::docker_archive);
  CHECK(archive->path == "a.tar");
  CHECK(archive->name.empty());
  for (const char* text : {"", "oci:", "oci::tag", "docker-archive:", "python:3", "dir:/tmp"}) {
    CHECK_MESSAGE(ImagePlace::parse(text).error().code == Code::invalid_argument, text);
  }
}

TEST_CASE("a layout that umoci made is imported, and comes out again as it was") {
  const StoreFolder folder;
  const auto store = folder.open();
  const std::string layout = make_layout_with_umoci(folder.around());
  const auto image = import(*store, layout, "first");
  REQUIRE_MESSAGE(image, image.error().message);
  CHECK(image->manifest.layers.size() == 2);
  CHECK(image->config.working_dir == "/work");
  CHECK(image->config.variable("GREETING") == "hello");
  for (const Descriptor& layer : image->manifest.layers) CHECK(store->verify_blob(layer, nullptr));
  // Without a tag there is only one image to mean.
  CHECK(import(*store, layout)->digest == image->digest);
  CHECK(import(*store, layout, "second").error().code == Code::not_found);

  const std::string out = folder.around() + "/out";
  REQUIRE(export_oci_layout(*store, *image, out, "first", kGoOn));
  REQUIRE(export_oci_layout(*store, *image, out, "second", kGoOn));
  REQUIRE(export_oci_layout(*store, *image, out, "first", kGoOn));
  shell("skopeo inspect --raw oci:" + out + ":first > " + folder.around() + "/manifest.json");
  CHECK(Digest::of(*sys::read_file(folder.around() + "/manifest.json")) == image->digest);
  shell("umoci unpack --rootless --image " + out + ":second " + folder.around() + "/bundle");
  CHECK(*sys::read_file(folder.around() + "/bundle/rootfs/etc/name") == "upper\n");
  shell("umoci list --layout " + out + " > " + folder.around() + "/tags");
  CHECK(*sys::read_file(folder.around() + "/tags") == "second\nfirst\n");
  CHECK_MESSAGE(import(*store, out)->digest == image->digest, "two tags of one image");
}

TEST_CASE("without a tag the image that has none is meant, else the only one there is") {
  const StoreFolder folder;
  const auto store = folder.open();
  FakeLayout first(folder.around() + "/first");
  FakeLayout second(folder.around() + "/second");
  first.write_index({first.add_image("amd64", {"one"})});
  second.write_index({second.add_image("amd64", {"two"})});
  const auto one = import(*store, first.path());
  const auto two = import(*store, second.path());
  REQUIRE((one && two));

  const std::string out = folder.around() + "/out";
  REQUIRE(export_oci_layout(*store, *one, out, "", kGoOn));
  REQUIRE(export_oci_layout(*store, *one, out, "tagged", kGoOn));
  CHECK(import(*store, out)->digest == one->digest);
  CHECK(import(*store, out, "tagged")->digest == one->digest);
  REQUIRE(export_oci_layout(*store, *two, out, "tagged", kGoOn));
  CHECK(import(*store, out)->digest == one->digest);
  CHECK(import(*store, out, "tagged")->digest == two->digest);

  const std::string tags = folder.around() + "/tags";
  REQUIRE(export_oci_layout(*store, *one, tags, "a", kGoOn));
  REQUIRE(export_oci_layout(*store, *two, tags, "b", kGoOn));
  const auto unclear = import(*store, tags);
  REQUIRE_FALSE(unclear);
  CHECK(unclear.error().code == Code::invalid_argument);
  CHECK_MESSAGE(unclear.error().message.contains("by its tag: a, b"), unclear.error().message);
}

TEST_CASE("an export makes the layout's folder, and none above it") {
  const StoreFolder folder;
  const auto store = folder.open();
  FakeLayout layout(folder.around() + "/layout");
  layout.write_index({layout.add_image("amd64", {"one"})});
  const auto image = import(*store, layout.path());
  REQUIRE(image);
  const auto refused = export_oci_layout(*store, *image, folder.around() + "/none/out", "", kGoOn);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::invalid_argument);
  CHECK_MESSAGE(refused.error().message.contains("make that first"), refused.error().message);
  CHECK_FALSE(sys::exists(folder.around() + "/none"));
  CHECK(export_oci_layout(*store, *image, folder.around() + "/out/", "", kGoOn));
}

TEST_CASE("an image with Docker's media types is exported with OCI's") {
  const StoreFolder folder;
  const auto store = folder.open();
  const std::string layout = make_layout_with_umoci(folder.around());
  shell("skopeo copy -q --format v2s2 oci:" + layout + ":first dir:" + folder.around() + "/docker");
  const std::string json = *sys::read_file(folder.around() + "/docker/manifest.json");
  auto manifest = parse_image_manifest(json);
  REQUIRE(manifest);
  CHECK(manifest->media_type == registry::media_type::kDockerManifest);
  REQUIRE(store->put_blob(json, Digest::of(json)));
  std::vector<Descriptor> parts = manifest->layers;
  parts.push_back(manifest->config);
  for (const Descriptor& part : parts) {
    REQUIRE(store->put_blob(*sys::read_file(folder.around() + "/docker/" + part.digest.hex()), part.digest));
  }
  const auto image = load_image(*store, Digest::of(json));
  REQUIRE_MESSAGE(image, image.error().message);
  REQUIRE(export_oci_layout(*store, *image, folder.around() + "/out", "", kGoOn));
  shell("skopeo copy -q oci:" + folder.around() + "/out oci:" + folder.around() + "/again:x");
  shell("umoci unpack --rootless --image " + folder.around() + "/again:x " + folder.around() + "/bundle");
  CHECK(*sys::read_file(folder.around() + "/bundle/rootfs/etc/name") == "upper\n");
}

TEST_CASE("an index in an index leads to the platform asked for") {
  const StoreFolder folder;
  const auto store = folder.open();
  FakeLayout layout(folder.around() + "/layout");
  const std::string amd = layout.add_image("amd64", {"layer one"});
  const std::string arm = layout.add_image("arm64", {"layer two"});
  const std::string inner = layout.add_index({amd, arm});
  layout.write_index({inner});
  const auto first = import(*store, layout.path());
  REQUIRE_MESSAGE(first, first.error().message);
  CHECK(first->config.platform.text() == "linux/amd64");
  const auto second = import(*store, layout.path(), "", {.os = "linux", .architecture = "arm64"});
  REQUIRE(second);
  CHECK(second->manifest.layers[0].digest == Digest::of("layer two"));
  const auto none = import(*store, layout.path(), "", {.os = "linux", .architecture = "riscv64"});
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Code::platform_missing);
  CHECK_MESSAGE(none.error().message.contains("linux/arm64"), none.error().message);
}

TEST_CASE("a hostile layout is refused, by its own code, and leaves nothing in the store") {
  struct Case {
    const char* name;
    Code code;
    std::function<void(FakeLayout&)> change;
  };
  const auto layer_path = [](const FakeLayout& layout) {
    return layout.path() + "/blobs/sha256/" + Digest::of("layer one").hex();
  };
  const std::vector<Case> cases = {
      {"no layout", Code::manifest_invalid, [](FakeLayout& l) { shell("rm " + l.path() + "/oci-layout"); }},
      {"another version", Code::manifest_invalid,
       [](FakeLayout& l) { write_file(l.path() + "/oci-layout", R"({"imageLayoutVersion":"2.0.0"})"); }},
      {"no index", Code::not_found, [](FakeLayout& l) { shell("rm " + l.path() + "/index.json"); }},
      {"index is a folder", Code::manifest_invalid,
       [](FakeLayout& l) { shell("cd " + l.path() + " && rm index.json && mkdir index.json"); }},
      {"index is a FIFO", Code::manifest_invalid,
       [](FakeLayout& l) { shell("cd " + l.path() + " && rm index.json && mkfifo index.json"); }},
      {"index is a link", Code::path_escape,
       [](FakeLayout& l) { shell("cd " + l.path() + " && mv index.json .. && ln -s ../index.json ."); }},
      {"huge index", Code::image_too_large,
       [](FakeLayout& l) { shell("truncate -s 100M " + l.path() + "/index.json"); }},
      {"deep JSON", Code::manifest_invalid,
       [](FakeLayout& l) { write_file(l.path() + "/index.json", std::string(1 << 20, '[')); }},
      {"blobs are elsewhere", Code::path_escape,
       [](FakeLayout& l) { shell("cd " + l.path() + " && mv blobs .. && ln -s ../blobs ."); }},
      {"blobs are elsewhere, absolute", Code::path_escape,
       [](FakeLayout& l) {
         shell("cd " + l.path() + " && mv blobs .. && ln -s " + l.path() + "/../blobs .");
       }},
      {"traversal in a digest", Code::manifest_invalid,
       [](FakeLayout& l) {
         shell("cd " + l.path() +
               " && sed -i 's#sha256:[0-9a-f]*#sha256:../../../../../../etc/passwd#' index.json");
       }},
      {"wrong size of the manifest", Code::size_mismatch,
       [](FakeLayout& l) {
         shell("cd " + l.path() + " && sed -i 's/\"size\":[0-9]*/\"size\":10/' index.json");
       }},
      {"the manifest is huge", Code::image_too_large,
       [](FakeLayout& l) {
         shell("cd " + l.path() + " && sed -i 's/\"size\":[0-9]*/\"size\":999999999/' index.json");
       }},
      {"a layer is a link", Code::path_escape,
       [&](FakeLayout& l) {
         shell("mv " + layer_path(l) + " " + l.path() + "/../x && ln -s ../../../x " + layer_path(l));
       }},
      {"a layer is missing", Code::not_found, [&](FakeLayout& l) { shell("rm " + layer_path(l)); }},
      {"a layer is other content", Code::digest_mismatch,
       [&](FakeLayout& l) { write_file(layer_path(l), "layer two"); }},
      {"a layer is short", Code::size_mismatch, [&](FakeLayout& l) { write_file(layer_path(l), "layer"); }},
      {"a layer is endless", Code::size_mismatch,
       [&](FakeLayout& l) { shell("truncate -s 10G " + layer_path(l)); }},
      {"an index in itself", Code::digest_mismatch,
       [](FakeLayout& l) {
         const std::string inner = l.add_index({l.image()});
         write_file(l.path() + "/blobs/sha256/" + Digest::of(l.last_blob()).hex(),
                    std::string(l.last_blob().size(), ' '));
         l.write_index({inner});
       }},
      {"indexes nested too deeply", Code::manifest_invalid,
       [](FakeLayout& l) {
         std::string entry = l.image();
         for (int i = 0; i < 6; ++i) entry = l.add_index({entry});
         l.write_index({entry});
       }},
  };
  for (const Case& c : cases) {
    const StoreFolder folder;
    const auto store = folder.open();
    FakeLayout layout(folder.around() + "/layout");
    layout.write_index({layout.add_image("amd64", {"layer one"})});
    c.change(layout);
    const auto image = import(*store, layout.path());
    INFO(c.name);
    REQUIRE_FALSE(image);
    CHECK_MESSAGE(image.error().code == c.code, code_name(image.error().code), ": ", image.error().message);
    CHECK(store->prune());
    CHECK(folder.files("blobs/sha256").empty());
    CHECK(folder.files("tmp/" + folder.files("tmp").at(0)).empty());
  }
}

TEST_CASE("limits and cancellation end an import") {
  const StoreFolder folder;
  const auto store = folder.open();
  FakeLayout layout(folder.around() + "/layout");
  layout.write_index({layout.add_image("amd64", {"layer one", "layer two"})});
  CHECK(import(*store, layout.path(), "", {}, {.max_layers = 1}).error().code == Code::image_too_large);
  CHECK(import(*store, layout.path(), "", {}, {.max_compressed_bytes = 17}).error().code ==
        Code::image_too_large);
  CHECK(import(*store, layout.path(), "", {}, {.max_compressed_bytes = 18}));
  const std::atomic<bool> stop = true;
  const StoreFolder other;
  const auto empty = other.open();
  CHECK(import_oci_layout(*empty, layout.path(), "", {}, {}, stop).error().code == Code::cancelled);
}
