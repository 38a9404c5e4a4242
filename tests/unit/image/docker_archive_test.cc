#include "image/layouts/docker_archive.h"

#include <string>
#include <vector>

#include "base/syscalls.h"
#include "image/layouts/oci_layout.h"
#include "store_fixture.h"
#include "test.h"

using namespace lambdo;
using namespace lambdo::image;

namespace {

const std::atomic<bool> kGoOn = false;

Result<LocalImage> import(Store& store, const std::string& file, const std::string& reference = "",
                          const Platform& platform = {}, const ImageLimits& limits = {}) {
  return import_docker_archive(store, file, reference, platform, limits, kGoOn);
}

/// A folder as `docker save` would write it, to be changed by a test before it becomes an archive.
class SavedImage {
 public:
  explicit SavedImage(const std::string& around) : path_(around + "/saved"), file_(around + "/saved.tar") {
    REQUIRE(sys::mkdirs(path_ + "/one", 0755));
    REQUIRE(sys::mkdirs(path_ + "/two", 0755));
    write("one/layer.tar", "layer one");
    write("two/layer.tar", "layer two");
    write("config.json", R"({"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[")" +
                             Digest::of("layer one").text() + R"(",")" + Digest::of("layer two").text() +
                             R"("]}})");
    write("manifest.json",
          R"([{"Config":"config.json","RepoTags":["app:1"],"Layers":["one/layer.tar","two/layer.tar"]}])");
  }
  void write(const std::string& path, const std::string& content) const {
    write_file(path_ + "/" + path, content);
  }
  /// `options` for tar(1).
  [[nodiscard]] std::string pack(const std::string& options = "") const {
    shell("tar -C " + path_ + " " + options + " -cf " + file_ + " .");
    return file_;
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::string file_;
};

std::string unpacked_name(const std::string& around, const std::string& layout) {
  shell("umoci unpack --rootless --image " + layout + " " + around + "/bundle && ls " + around +
        "/bundle/rootfs/etc > " + around + "/list");
  CHECK(*sys::read_file(around + "/list") == "name\n");
  return *sys::read_file(around + "/bundle/rootfs/etc/name");
}

}  // namespace

TEST_CASE("an archive that skopeo wrote is imported") {
  const StoreFolder folder;
  const auto store = folder.open();
  const std::string layout = make_layout_with_umoci(folder.around());
  const std::string file = folder.around() + "/skopeo.tar";
  shell("skopeo copy -q oci:" + layout + ":first docker-archive:" + file + ":registry.example/app:1");
  const auto original = import_oci_layout(*store, layout, "first", {}, {}, kGoOn);
  REQUIRE(original);
  for (const std::string reference : {"", "registry.example/app:1"}) {
    const auto image = import(*store, file, reference);
    REQUIRE_MESSAGE(image, image.error().message);
    CHECK(image->config.diff_ids == original->config.diff_ids);
    CHECK(image->config.variable("GREETING") == "hello");
    REQUIRE(export_oci_layout(*store, *image, folder.around() + "/out", "x", kGoOn));
  }
  CHECK(unpacked_name(folder.around(), folder.around() + "/out:x") == "upper\n");
  CHECK(import(*store, file, "registry.example/app:2").error().code == Code::not_found);
  // The archive itself may be compressed, by whatever it was piped through.
  for (const std::string tool : {"gzip", "zstd -q --rm"}) {
    shell("cp " + file + " " + file + ".copy && " + tool + " " + file + ".copy && mv " + file + ".copy.* " +
          file + ".packed");
    CHECK_MESSAGE(import(*store, file + ".packed"), tool);
  }
}

TEST_CASE("an archive that was exported is read by skopeo, and has the same layers") {
  const StoreFolder folder;
  const auto store = folder.open();
  const std::string layout = make_layout_with_umoci(folder.around());
  const auto original = import_oci_layout(*store, layout, "first", {}, {}, kGoOn);
  REQUIRE(original);
  const std::string file = folder.around() + "/exported.tar";
  const auto exported = export_docker_archive(*store, *original, file, "app:1", {}, kGoOn);
  REQUIRE_MESSAGE(exported, exported.error().message);
  shell("skopeo copy -q docker-archive:" + file + ":app:1 oci:" + folder.around() + "/out:x");
  CHECK(unpacked_name(folder.around(), folder.around() + "/out:x") == "upper\n");
  // And ours reads it too: the configuration is the very same, the layers are now plain.
  const auto again = import(*store, file, "docker.io/library/app:1");
  REQUIRE_MESSAGE(again, again.error().message);
  CHECK(again->manifest.config.digest == original->manifest.config.digest);
  for (size_t i = 0; i < again->manifest.layers.size(); ++i) {
    CHECK(again->manifest.layers[i].digest == original->config.diff_ids[i]);
  }
  // Two exports are the same bytes.
  REQUIRE(export_docker_archive(*store, *again, folder.around() + "/second.tar", "app:1", {}, kGoOn));
  shell("cmp " + file + " " + folder.around() + "/second.tar");
}

TEST_CASE("layers of any kind are found by what they are, through links in the archive") {
  const StoreFolder folder;
  const auto store = folder.open();
  const SavedImage saved(folder.around());
  const auto check = [&] {
    const auto image = import(*store, saved.pack("--sort=name"));
    REQUIRE_MESSAGE(image, image.error().message);
    REQUIRE(image->manifest.layers.size() == 2);
    return *image->manifest.layers.begin();
  };
  SUBCASE("plain") {
    CHECK(check().media_type == registry::media_type::kOciLayer);
  }
  SUBCASE("gzip") {
    shell("cd " + saved.path() + "/one && gzip layer.tar && mv layer.tar.gz layer.tar");
    CHECK(check().media_type == registry::media_type::kOciLayerGzip);
  }
  SUBCASE("a link to a file that comes later") {
    shell("cd " + saved.path() + " && mkdir zzz && mv one/layer.tar zzz && ln -s ../zzz/layer.tar one/");
    CHECK(check().digest == Digest::of("layer one"));
  }
  SUBCASE("a link to a link") {
    shell("cd " + saved.path() +
          " && mv one/layer.tar x && ln -s ./x y && ln -s .././one/../y one/layer.tar");
    CHECK(check().digest == Digest::of("layer one"));
  }
  SUBCASE("a hard link") {
    shell("cd " + saved.path() + " && ln one/layer.tar aaa");
    CHECK(check().digest == Digest::of("layer one"));
  }
  SUBCASE("one layer twice") {
    saved.write("two/layer.tar", "layer one");
    shell("cd " + saved.path() + " && sed -i 's/sha256:[0-9a-f]*/" + Digest::of("layer one").text() +
          "/g' config.json && sed -i 's#two/#one/#' manifest.json");
    CHECK(check().digest == Digest::of("layer one"));
  }
}

TEST_CASE("an archive of several images wants one to be chosen") {
  const StoreFolder folder;
  const auto store = folder.open();
  const SavedImage saved(folder.around());
  shell("cd " + saved.path() + " && sed -i 's/^\\[\\(.*\\)\\]$/[\\1,\\1]/; s/app:1/app:2/' manifest.json");
  const std::string file = saved.pack();
  const auto none = import(*store, file);
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Code::invalid_argument);
  CHECK_MESSAGE(none.error().message.contains("app:2, app:1"), none.error().message);
  CHECK(import(*store, file, "app:2"));
  CHECK(import(*store, file, "app:1"));
}

TEST_CASE("a hostile archive is refused, by its own code, and leaves nothing in the store") {
  struct Case {
    const char* name;
    Code code;
    std::string change;  ///< in the saved folder
  };
  const std::vector<Case> cases = {
      {"no manifest", Code::manifest_invalid, "rm manifest.json"},
      {"manifest is no JSON", Code::manifest_invalid, "echo x > manifest.json"},
      {"manifest is an object", Code::manifest_invalid, "echo '{}' > manifest.json"},
      {"manifest is a link", Code::manifest_invalid, "rm manifest.json && ln -s /etc/passwd manifest.json"},
      {"huge manifest", Code::image_too_large, "truncate -s 100M manifest.json"},
      {"no images", Code::not_found, "echo '[]' > manifest.json"},
      {"huge configuration", Code::image_too_large, "truncate -s 100M config.json"},
      {"a layer is missing", Code::not_found, "rm one/layer.tar"},
      {"a layer's name goes up", Code::not_found, "sed -i 's#one/#../../../#' manifest.json"},
      {"a layer is outside", Code::path_escape, "ln -sf ../../etc/passwd one/layer.tar"},
      {"a layer is outside, absolute", Code::path_escape, "ln -sf /etc/passwd one/layer.tar"},
      {"a loop of links", Code::manifest_invalid, "ln -sf ../y one/layer.tar && ln -s one/layer.tar y"},
      {"a layer is other content", Code::digest_mismatch, "echo x > one/layer.tar"},
      {"a layer too few", Code::manifest_invalid, "sed -i 's#,.two/layer.tar.##' manifest.json"},
      {"for another machine", Code::platform_missing, "sed -i s/amd64/arm64/ config.json"},
      {"layers too large", Code::image_too_large, "truncate -s 3M one/layer.tar"},
  };
  for (const Case& c : cases) {
    const StoreFolder folder;
    const auto store = folder.open();
    const SavedImage saved(folder.around());
    shell("cd " + saved.path() + " && " + c.change);
    const auto image = import(*store, saved.pack(), "", {}, {.max_compressed_bytes = 2 << 20});
    INFO(c.name);
    REQUIRE_FALSE(image);
    CHECK_MESSAGE(image.error().code == c.code, code_name(image.error().code), ": ", image.error().message);
    CHECK(folder.files("blobs/sha256").empty());
    CHECK(folder.files("tmp/" + folder.files("tmp").at(0)).empty());
  }
}

TEST_CASE("an archive that ends early or is none is damaged, whereever it ends") {
  const StoreFolder folder;
  const auto store = folder.open();
  const SavedImage saved(folder.around());
  const std::string file = saved.pack("--sort=name");
  const std::string whole = *sys::read_file(file);
  REQUIRE(import(*store, file));
  const std::string last = "two/layer.tar";
  const size_t needed = whole.rfind(last) + 512 + 9;
  for (size_t size = 0; size < needed; size += 512) {
    write_file(file, whole.substr(0, size));
    const auto image = import(*store, file);
    INFO(size);
    REQUIRE_FALSE(image);
    const Code code = image.error().code;
    CHECK_MESSAGE((code == Code::layer_invalid || code == Code::manifest_invalid || code == Code::not_found),
                  image.error().message);
  }
  CHECK(import(*store, "/dev/zero").error().code == Code::invalid_argument);
  write_file(file, std::string(100'000, 'x'));
  CHECK(import(*store, file).error().code == Code::layer_invalid);
}

TEST_CASE("an archive of zeros beyond measure is not read to its end") {
  const StoreFolder folder;
  const auto store = folder.open();
  const SavedImage saved(folder.around());
  shell("cd " + saved.path() + " && truncate -s 60M one/unused");
  const std::string file = saved.pack("--sort=name --gzip");
  CHECK(import(*store, file));
  const auto image = import(*store, file, "", {}, {.max_unpacked_bytes = 20 << 20});
  REQUIRE_FALSE(image);
  CHECK(image.error().code == Code::image_too_large);
}
