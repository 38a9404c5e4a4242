#include "image/layouts/docker_archive.h"

#include <fcntl.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/syscalls.h"
#include "image/image_manifest.h"
#include "image/layers/decompressor.h"
#include "image/layouts/archive_file.h"
#include "registry/json_object.h"
#include "registry/platform.h"
#include "registry/reference.h"

namespace lambdo::image {

namespace {

namespace media_type = registry::media_type;

constexpr size_t kMaxEntries = 100'000;
constexpr size_t kMaxImages = 1024;
constexpr size_t kMaxTags = 1024;
constexpr size_t kMaxLinks = 8;  ///< one after the other
constexpr size_t kCopyBytes = 256 << 10;

/// What one image of an archive consists of, by the paths in it.
struct ArchivedImage {
  std::string config;
  std::vector<std::string> tags;
  std::vector<std::string> layers;
};

/// Which entry each path of an archive means.
struct Contents {
  std::map<std::string, size_t> files;  ///< the number of the entry; the last one of each path
  std::map<std::string, std::string> links;
  std::optional<std::string> manifest;

  [[nodiscard]] Result<size_t> find(std::string path) const;
};

/// Reads only headers and manifest.json, which may stand at the end.
Result<Contents> read_contents(int fd, const std::string& file, const ImageLimits& limits,
                               const std::atomic<bool>& stop) {
  auto archive = TRY(ArchiveFile::open(fd, file, limits.max_unpacked_bytes));
  Contents contents;
  for (size_t number = 0; TRY(archive.next()); ++number) {
    if (stop.load(std::memory_order_relaxed)) return fail(Code::cancelled, "stopped");
    if (number == kMaxEntries) return fail(Code::image_too_large, file + " has too many entries");
    const std::string& path = archive.path();
    if (path.empty()) continue;
    // As tar itself would: what comes later takes the place of what was there.
    contents.files.erase(path);
    contents.links.erase(path);
    if (archive.is_link()) contents.links[path] = archive.target();
    if (archive.is_file()) contents.files[path] = number;
    if (archive.is_file() && path == "manifest.json") {
      contents.manifest = TRY(archive.read_all(kMaxManifestBytes));
    }
  }
  return contents;
}

Result<size_t> Contents::find(std::string path) const {
  const std::string named = path;
  for (size_t followed = 0; followed <= kMaxLinks; ++followed) {
    const auto file = files.find(path);
    if (file != files.end()) return file->second;
    const auto link = links.find(path);
    if (link == links.end()) return fail(Code::not_found, named + " is not in the archive");
    if (link->second.empty()) {
      return fail(Code::path_escape, named + " in the archive is a link to something outside of it");
    }
    path = link->second;
  }
  return fail(Code::manifest_invalid, named + " in the archive is a chain of too many links");
}

Result<std::vector<ArchivedImage>> read_manifest(const std::string& text, const ImageLimits& limits) {
  // An array at the top, which the reader of objects does not take by itself.
  const std::string wrapped = "{\"manifest\":" + text + "}";
  const auto document = TRY(registry::JsonDocument::parse(wrapped, "manifest.json", Code::manifest_invalid));
  std::vector<ArchivedImage> images;
  for (const auto& entry : TRY(document.root().required_objects("manifest", kMaxImages))) {
    ArchivedImage image;
    image.config = TRY(entry.required_text("Config"));
    image.tags = TRY(entry.texts("RepoTags", kMaxTags));
    image.layers = TRY(entry.texts("Layers", limits.max_layers));
    images.push_back(std::move(image));
  }
  return images;
}

Result<ArchivedImage> choose(std::vector<ArchivedImage> images, const std::string& reference) {
  if (images.empty()) return fail(Code::not_found, "the archive has no images");
  if (reference.empty()) {
    if (images.size() == 1) return std::move(images.front());
  } else {
    const auto wanted = TRY(registry::Reference::parse(reference));
    for (ArchivedImage& image : images) {
      for (const std::string& tag : image.tags) {
        const auto own = registry::Reference::parse(tag);
        if (own && *own == wanted) return std::move(image);
      }
    }
  }
  std::string list;
  for (const ArchivedImage& image : images) {
    const std::string tag = image.tags.empty() ? "(none)" : image.tags.front();
    if (list.size() < 1000) list += (list.empty() ? "" : ", ") + tag;
  }
  if (reference.empty()) {
    return fail(Code::invalid_argument, "the archive has several images; choose one: " + list);
  }
  return fail(Code::not_found, "no image " + reference + " in the archive; there is " + list);
}

/// One image while it is copied from the archive into temporary blobs of the store.
class Copy {
 public:
  Copy(Store& store, const ImageLimits& limits, const std::atomic<bool>& stop)
      : store_(&store), left_bytes_(limits.max_compressed_bytes), stop_(&stop) {}

  Result<> locate(const Contents& contents, const ArchivedImage& image);
  Result<> run(int fd, const std::string& file, const ImageLimits& limits);
  Result<LocalImage> finish(const Platform& platform);

 private:
  struct Blob {
    BlobWriter writer;
    Descriptor descriptor;
  };
  Result<Blob> copy_layer(ArchiveFile& archive);

  Store* store_;
  uint64_t left_bytes_;
  const std::atomic<bool>* stop_;
  size_t config_entry_ = 0;
  std::vector<size_t> layer_entries_;  ///< by layer; two layers may be one entry
  std::string config_;
  std::map<size_t, Blob> blobs_;  ///< by entry
};

Result<> Copy::locate(const Contents& contents, const ArchivedImage& image) {
  config_entry_ = TRY(contents.find(image.config));
  for (const std::string& layer : image.layers) layer_entries_.push_back(TRY(contents.find(layer)));
  return {};
}

Result<> Copy::run(int fd, const std::string& file, const ImageLimits& limits) {
  auto archive = TRY(ArchiveFile::open(fd, file, limits.max_unpacked_bytes));
  for (size_t number = 0; TRY(archive.next()); ++number) {
    if (number == config_entry_) config_ = TRY(archive.read_all(ImageConfig::kMaxBytes));
    const bool wanted = std::ranges::find(layer_entries_, number) != layer_entries_.end();
    if (wanted) blobs_.emplace(number, TRY(copy_layer(archive)));
  }
  return {};
}

std::string_view layer_type(std::span<const std::byte> start) {
  switch (detect_layer_compression(start)) {
    case LayerCompression::gzip:
      return media_type::kOciLayerGzip;
    case LayerCompression::zstd:
      return media_type::kOciLayerZstd;
    case LayerCompression::none:
      break;
  }
  return media_type::kOciLayer;
}

Result<Copy::Blob> Copy::copy_layer(ArchiveFile& archive) {
  auto writer = TRY(store_->new_blob(BlobWriter::Check::here));
  std::vector<std::byte> buffer(kCopyBytes);
  std::string_view type = media_type::kOciLayer;
  for (;;) {
    if (stop_->load(std::memory_order_relaxed)) return fail(Code::cancelled, "stopped");
    const size_t count = TRY(archive.read(buffer));
    if (count == 0) break;
    if (count > left_bytes_) return fail(Code::image_too_large, "the image's layers are too large together");
    left_bytes_ -= count;
    const auto piece = std::span(buffer).first(count);
    if (writer.size_bytes() == 0) type = layer_type(piece);
    TRY(writer.write(piece));
  }
  Descriptor descriptor = writer.describe(type);
  return Blob{.writer = std::move(writer), .descriptor = std::move(descriptor)};
}

/// All parts are known only now, and so is the manifest's digest: the lease comes before the first of them is
/// put into its place.
Result<LocalImage> Copy::finish(const Platform& platform) {
  ImageConfig config = TRY(ImageConfig::parse(config_, layer_entries_.size()));
  if (!registry::same_machine(config.platform, platform)) {
    return registry::platform_missing(platform, {config.platform});
  }
  Manifest manifest{.media_type = std::string(media_type::kOciManifest),
                    .config = {.media_type = std::string(media_type::kOciConfig),
                               .digest = Digest::of(config_),
                               .size_bytes = config_.size(),
                               .platform = {}},
                    .layers = {}};
  for (size_t i = 0; i < layer_entries_.size(); ++i) {
    const Descriptor& layer = blobs_.at(layer_entries_[i]).descriptor;
    if (layer.media_type == media_type::kOciLayer && layer.digest != config.diff_ids[i]) {
      return fail(Code::digest_mismatch,
                  "layer " + std::to_string(i + 1) + " in the archive is not what the configuration says");
    }
    manifest.layers.push_back(layer);
  }
  const std::string json = write_oci_manifest(manifest);
  const Digest digest = Digest::of(json);
  auto lease = TRY(store_->lease(digest));
  TRY(store_->put_blob(json, digest));
  TRY(store_->put_blob(config_, manifest.config.digest));
  for (auto& [number, blob] : blobs_) TRY(blob.writer.commit(blob.descriptor));
  return LocalImage{.digest = digest,
                    .manifest = std::move(manifest),
                    .config = std::move(config),
                    .lease = std::move(lease)};
}

}  // namespace

Result<LocalImage> import_docker_archive(Store& store, const std::string& file, const std::string& reference,
                                         const Platform& platform, const ImageLimits& limits,
                                         const std::atomic<bool>& stop) {
  // O_NONBLOCK: a FIFO would be waited for.
  const Fd fd = TRY(sys::open(file, O_RDONLY | O_NONBLOCK));
  const struct stat status = TRY(sys::fstat(fd.get()));
  if (!S_ISREG(status.st_mode)) return fail(Code::invalid_argument, file + " is not a regular file");
  const Contents contents = TRY(read_contents(fd.get(), file, limits, stop));
  if (!contents.manifest) {
    return fail(Code::manifest_invalid, file + " was not made by docker save: it has no manifest.json");
  }
  auto images = TRY(read_manifest(*contents.manifest, limits));
  auto image = choose(std::move(images), reference);
  if (!image) return std::unexpected(std::move(image).error().with_context(file));
  Copy copy(store, limits, stop);
  TRY(copy.locate(contents, *image));
  TRY(copy.run(fd.get(), file, limits));
  return copy.finish(platform);
}

}  // namespace lambdo::image
