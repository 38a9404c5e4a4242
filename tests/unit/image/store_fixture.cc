#include "store_fixture.h"

#include <fcntl.h>

#include <cstdlib>

#include "base/json.h"
#include "base/syscalls.h"
#include "test.h"

namespace lambdo::image {

namespace {

void write_descriptor(JsonWriter& json, const Descriptor& blob) {
  json.begin_object()
      .field("mediaType", blob.media_type)
      .field("digest", blob.digest.text())
      .field("size", blob.size_bytes)
      .end_object();
}

}  // namespace

StoreFolder::StoreFolder() {
  char text[] = "/tmp/lambdo-store-XXXXXX";
  around_ = ::mkdtemp(text);
}

StoreFolder::~StoreFolder() {
  CHECK(remove_tree(around_));
}

std::unique_ptr<Store> StoreFolder::open() const {
  auto store = Store::open(path());
  REQUIRE_MESSAGE(store, (store ? "" : store.error().message));
  return std::move(*store);
}

std::vector<std::string> StoreFolder::files(const std::string& subfolder) const {
  auto names = sys::list_directory(path() + "/" + subfolder);
  REQUIRE(names);
  return *names;
}

Descriptor descriptor_of(std::string_view content, std::string_view media_type) {
  return {.media_type = std::string(media_type),
          .digest = Digest::of(content),
          .size_bytes = content.size(),
          .platform = {}};
}

Digest put_image(Store& store, const std::vector<std::string>& layers) {
  JsonWriter config;
  config.begin_object().field("os", "linux").field("architecture", "amd64");
  config.key("rootfs").begin_object().field("type", "layers").key("diff_ids").begin_array();
  for (const std::string& layer : layers) config.value(Digest::of(layer).text());
  config.end_array().end_object().end_object();

  JsonWriter manifest;
  manifest.begin_object()
      .field("schemaVersion", 2)
      .field("mediaType", registry::media_type::kOciManifest)
      .key("config");
  write_descriptor(manifest, descriptor_of(config.text(), registry::media_type::kOciConfig));
  manifest.key("layers").begin_array();
  for (const std::string& layer : layers) {
    write_descriptor(manifest, descriptor_of(layer, registry::media_type::kOciLayer));
    REQUIRE(store.put_blob(layer, Digest::of(layer)));
  }
  manifest.end_array().end_object();
  REQUIRE(store.put_blob(config.text(), Digest::of(config.text())));
  const Digest digest = Digest::of(manifest.text());
  REQUIRE(store.put_blob(manifest.text(), digest));
  return digest;
}

void write_file(const std::string& path, std::string_view content) {
  const auto fd = sys::open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  REQUIRE(fd);
  REQUIRE(sys::write_all(fd->get(), content));
}

void shell(const std::string& line) {
  INFO(line);
  REQUIRE(std::system(("set -e; " + line).c_str()) == 0);
}

std::string make_layout_with_umoci(const std::string& folder) {
  const std::string layout = folder + "/umoci";
  const std::string image = layout + ":first";
  shell("cd " + folder + " && mkdir -p lower/etc upper/etc && echo lower > lower/etc/name && " +
        "echo gone > lower/etc/gone && echo upper > upper/etc/name && touch upper/etc/.wh.gone && " +
        "tar -C lower -cf lower.tar . && tar -C upper -cf upper.tar .");
  shell("umoci init --layout " + layout + " && umoci new --image " + image);
  for (const char* layer : {"lower", "upper"}) {
    shell("umoci raw add-layer --image " + image + " " + folder + "/" + layer + ".tar");
  }
  shell("umoci config --image " + image + " --config.env GREETING=hello --config.workingdir /work");
  return layout;
}

FakeLayout::FakeLayout(std::string path) : path_(std::move(path)) {
  REQUIRE(sys::mkdirs(path_ + "/blobs/sha256", 0755));
  write_file(path_ + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
}

std::string FakeLayout::add_blob(const std::string& content, std::string_view media_type,
                                 const std::string& more) {
  write_file(path_ + "/blobs/sha256/" + Digest::of(content).hex(), content);
  last_blob_ = content;
  return R"({"mediaType":")" + std::string(media_type) + R"(","digest":")" + Digest::of(content).text() +
         R"(","size":)" + std::to_string(content.size()) + more + "}";
}

std::string FakeLayout::add_image(const std::string& architecture, const std::vector<std::string>& layers) {
  std::string diff_ids;
  std::string entries;
  for (const std::string& layer : layers) {
    const std::string comma = diff_ids.empty() ? "" : ",";
    diff_ids += comma + "\"" + Digest::of(layer).text() + "\"";
    entries += comma + add_blob(layer, registry::media_type::kOciLayer);
  }
  const std::string platform = R"("os":"linux","architecture":")" + architecture + "\"";
  const std::string config =
      add_blob("{" + platform + R"(,"rootfs":{"type":"layers","diff_ids":[)" + diff_ids + "]}}",
               registry::media_type::kOciConfig);
  image_ = add_blob(R"({"schemaVersion":2,"config":)" + config + R"(,"layers":[)" + entries + "]}",
                    registry::media_type::kOciManifest, R"(,"platform":{)" + platform + "}");
  return image_;
}

namespace {

std::string index_of(const std::vector<std::string>& entries) {
  std::string list;
  for (const std::string& entry : entries) list += (list.empty() ? "" : ",") + entry;
  return R"({"schemaVersion":2,"manifests":[)" + list + "]}";
}

}  // namespace

std::string FakeLayout::add_index(const std::vector<std::string>& entries) {
  return add_blob(index_of(entries), registry::media_type::kOciIndex);
}

void FakeLayout::write_index(const std::vector<std::string>& entries) {
  write_file(path_ + "/index.json", index_of(entries));
}

}  // namespace lambdo::image
