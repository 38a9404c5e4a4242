#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "image/image_limits.h"
#include "image/image_manifest.h"
#include "image/stopped.h"
#include "image/store/store.h"
#include "registry/json_object.h"

/// Looking at all of a store at once: what is reached from its names, and what is not.
namespace lambdo::image {

namespace {

constexpr std::string_view kLeasePrefix = "image-";
constexpr int kLockLimitMs = 10'000;

/// What is wrong with the manifest itself, and will be the next time too.
bool is_damage(Code code) {
  return code == Code::store_invalid || code == Code::manifest_invalid ||
         code == Code::media_type_unsupported || code == Code::image_too_large;
}

/// The digest that a file's name starts with; nullopt where it is something else.
std::optional<Digest> digest_of(std::string_view name) {
  const auto digest = Digest::parse("sha256:" + std::string(name.substr(0, 64)));
  if (!digest) return std::nullopt;
  return *digest;
}

uint64_t file_size(const std::string& path) {
  const auto status = sys::lstat(path);
  if (!status || !*status || !S_ISREG((*status)->st_mode)) return 0;
  return static_cast<uint64_t>((*status)->st_size);
}

uint64_t unpacked_size(const std::string& rootfs) {
  const auto text = sys::read_file(rootfs + "/info.json", 4096);
  if (!text) return 0;
  const auto info = registry::JsonDocument::parse(*text, rootfs, Code::store_invalid);
  if (!info) return 0;
  return info->root().required_number("bytes").value_or(0);
}

}  // namespace

/// The descriptors that an image consists of: its manifest, its configuration, its layers.
Result<std::vector<Descriptor>> Store::parts_of(const Digest& manifest) {
  const std::string json = TRY(read_blob(manifest, kMaxManifestBytes));
  std::vector<Descriptor> parts;
  parts.push_back({.media_type = {}, .digest = manifest, .size_bytes = json.size(), .platform = {}});
  auto found = TRY(parse_image_manifest(json));
  parts.push_back(std::move(found.config));
  std::ranges::move(found.layers, std::back_inserter(parts));
  return parts;
}

Result<StoreListing> Store::list(const std::atomic<bool>* stop) {
  const FileLock lock = TRY(FileLock::lock(folder_ + "/lock", FileLock::Kind::shared, kLockLimitMs, stop));
  StoreListing listing;
  std::set<Digest> reached;
  std::map<Digest, uint64_t> initramfs;
  for (const std::string& file : TRY(sys::list_directory(folder_ + "/initramfs"))) {
    const auto manifest = digest_of(file);
    if (manifest) initramfs[*manifest] += file_size(folder_ + "/initramfs/" + file);
  }
  for (Name& name : TRY(names())) {
    if (is_stopped(stop)) return fail(Code::cancelled, "stopped");
    ImageSummary image{.name = std::move(name), .complete = false, .rootfs_bytes = {}};
    const Digest manifest = image.name.manifest;
    const auto parts = parts_of(manifest);
    reached.insert(manifest);
    if (parts) {
      image.layers = parts->size() - 2;
      image.complete = std::ranges::all_of(*parts, [this](const Descriptor& part) { return has_blob(part); });
      for (const Descriptor& part : *parts) {
        image.compressed_bytes += part.size_bytes;
        reached.insert(part.digest);
      }
    }
    if (find_rootfs(manifest)) image.rootfs_bytes = unpacked_size(rootfs_path(manifest));
    image.initramfs_bytes = initramfs[manifest];
    listing.images.push_back(std::move(image));
  }
  for (const std::string& file : TRY(sys::list_directory(folder_ + "/blobs/sha256"))) {
    const auto digest = digest_of(file);
    const uint64_t size = file_size(folder_ + "/blobs/sha256/" + file);
    listing.blob_bytes += size;
    if (!digest || !reached.contains(*digest)) listing.unnamed_bytes += size;
  }
  return listing;
}

/// The manifests that somebody has a lease on, in this process or another. Holding the store's lock keeps new
/// ones from coming meanwhile.
Result<std::set<Digest>> Store::leased() {
  std::set<Digest> manifests;
  for (const std::string& file : TRY(sys::list_directory(folder_ + "/locks"))) {
    if (!file.starts_with(kLeasePrefix)) continue;
    const auto manifest = digest_of(std::string_view(file).substr(kLeasePrefix.size()));
    auto lock = TRY(FileLock::try_lock(folder_ + "/locks/" + file, FileLock::Kind::exclusive));
    if (lock) {
      lock->remove_on_release();
    } else if (manifest) {
      manifests.insert(*manifest);
    }
  }
  return manifests;
}

struct Store::Kept {
  std::set<Digest> images;
  std::set<Digest> blobs;
};

Result<> Store::keep_parts(const Digest& image, bool is_leased, std::set<Digest>& blobs) {
  auto parts = parts_of(image);
  if (parts) {
    for (const Descriptor& part : *parts) blobs.insert(part.digest);
    return {};
  }
  Error error = std::move(parts).error();
  const bool is_gone = error.code == Code::not_found;
  const bool is_damaged =
      is_damage(error.code) || (is_gone && sys::exists(folder_ + "/damaged/" + image.hex()));
  if (!is_damaged) {
    // A lease comes before the manifest, and a manifest before the first layer.
    if (is_gone) return {};
    return std::unexpected(
        std::move(error).with_context("nothing was removed, for the parts of an image cannot be read"));
  }
  if (is_leased) {
    return fail(Code::store_invalid, "nothing was removed, for the image " + image.text() +
                                         " is in use and its manifest is damaged: pull it again, or end what "
                                         "uses it (" +
                                         error.message + ")");
  }
  log::warning("An image's manifest is damaged, and its parts are removed; pull it again",
               {{"digest", image.text()}, {"error", error.message}});
  return {};
}

/// With the store's lock held against all others.
Result<Store::Kept> Store::find_kept(const std::atomic<bool>* stop) {
  const std::set<Digest> in_use = TRY(leased());
  Kept kept{.images = in_use, .blobs = {}};
  for (const Name& name : TRY(read_names(DamagedNames::go))) kept.images.insert(name.manifest);
  kept.blobs = kept.images;
  for (const Digest& image : kept.images) {
    if (is_stopped(stop)) return fail(Code::cancelled, "stopped");
    TRY(keep_parts(image, in_use.contains(image), kept.blobs));
  }
  return kept;
}

/// Moves what is not kept into a folder from which it is removed later: a tree takes long.
class Store::Sweep {
 public:
  Sweep(Store& store, const TemporaryFolder& trash, const std::atomic<bool>* stop)
      : store_(&store), trash_(&trash), stop_(stop) {}

  Result<> everything() {
    const Kept kept = TRY(store_->find_kept(stop_));
    TRY(folder("blobs/sha256", kept.blobs, report_.blobs));
    TRY(folder("rootfs", kept.images, report_.rootfs));
    TRY(folder("initramfs", kept.images, report_.initramfs));
    size_t damaged = 0;
    return folder("damaged", {}, damaged);
  }
  [[nodiscard]] const PruneReport& report() const { return report_; }

 private:
  Result<> folder(const std::string& name, const std::set<Digest>& kept, size_t& count) {
    const std::string folder = store_->folder_ + "/" + name;
    for (const std::string& file : TRY(sys::list_directory(folder))) {
      const auto digest = digest_of(file);
      if (digest && kept.contains(*digest)) continue;
      if (is_stopped(stop_)) return fail(Code::cancelled, "stopped");
      const std::string path = folder + "/" + file;
      const uint64_t bytes = name == "rootfs" ? unpacked_size(path) : file_size(path);
      TRY(sys::rename(path, trash_->path() + "/" + std::to_string(store_->next_temporary_++)));
      report_.bytes += bytes;
      ++count;
    }
    return {};
  }

  Store* store_;
  const TemporaryFolder* trash_;
  const std::atomic<bool>* stop_;
  PruneReport report_;
};

Result<PruneReport> Store::prune(int wait_ms, const std::atomic<bool>* stop) {
  TemporaryFolder trash = TRY(make_temporary_folder());
  Sweep sweep(*this, trash, stop);
  Result<> swept;
  {
    const FileLock lock = TRY(FileLock::lock(folder_ + "/lock", FileLock::Kind::exclusive, wait_ms, stop));
    swept = sweep.everything();
  }
  auto removed = remove_tree(trash.path(), stop);
  if (!removed) {
    trash.forget();
    if (removed.error().code == Code::cancelled) leaves_session_ = true;
    if (swept) return std::unexpected(std::move(removed).error());
  }
  if (!swept) return std::unexpected(std::move(swept).error());
  return sweep.report();
}

}  // namespace lambdo::image
