#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "image/image_limits.h"
#include "image/image_manifest.h"
#include "image/store.h"
#include "registry/json_object.h"

/// Looking at all of a store at once: what is reached from its names, and what is not.
namespace lambdo::image {

namespace {

constexpr std::string_view kLeasePrefix = "image-";

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

Result<StoreListing> Store::list() {
  const FileLock lock = TRY(shared_lock());
  StoreListing listing;
  std::set<Digest> reached;
  std::map<Digest, uint64_t> initramfs;
  for (const std::string& file : TRY(sys::list_directory(folder_ + "/initramfs"))) {
    const auto manifest = digest_of(file);
    if (manifest) initramfs[*manifest] += file_size(folder_ + "/initramfs/" + file);
  }
  for (Name& name : TRY(names())) {
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

Result<PruneReport> Store::prune(int wait_ms) {
  PruneReport report;
  // Removed after the lock is let go: a tree takes long.
  const TemporaryFolder trash = TRY(make_temporary_folder());
  const FileLock lock = TRY(FileLock::lock(folder_ + "/lock", FileLock::Kind::exclusive, wait_ms));
  std::set<Digest> images = TRY(leased());
  for (const Name& name : TRY(names())) images.insert(name.manifest);
  std::set<Digest> blobs = images;
  for (const Digest& image : images) {
    const auto parts = parts_of(image);
    // A lease comes before the manifest, and a manifest before the first layer.
    if (!parts && parts.error().code == Code::not_found) continue;
    if (!parts) {
      log::warning("An image cannot be read", {{"digest", image.text()}, {"error", parts.error().message}});
      continue;
    }
    for (const Descriptor& part : *parts) blobs.insert(part.digest);
  }
  TRY(sweep("blobs/sha256", blobs, trash, report.blobs, report.bytes));
  TRY(sweep("rootfs", images, trash, report.rootfs, report.bytes));
  TRY(sweep("initramfs", images, trash, report.initramfs, report.bytes));
  size_t damaged = 0;
  TRY(sweep("damaged", {}, trash, damaged, report.bytes));
  return report;
}

/// Moves what is in `subfolder` and not of `kept` into the trash.
Result<> Store::sweep(const std::string& subfolder, const std::set<Digest>& kept,
                      const TemporaryFolder& trash, size_t& count, uint64_t& bytes) {
  const std::string folder = folder_ + "/" + subfolder;
  for (const std::string& file : TRY(sys::list_directory(folder))) {
    const auto digest = digest_of(file);
    if (digest && kept.contains(*digest)) continue;
    const std::string path = folder + "/" + file;
    bytes += subfolder == "rootfs" ? unpacked_size(path) : file_size(path);
    TRY(sys::rename(path, trash.path() + "/" + std::to_string(next_temporary_++)));
    ++count;
  }
  return {};
}

}  // namespace lambdo::image
