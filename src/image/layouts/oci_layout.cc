#include "image/layouts/oci_layout.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "base/files.h"
#include "base/syscalls.h"
#include "image/image_manifest.h"
#include "registry/json_object.h"
#include "registry/platform.h"

namespace lambdo::image {

namespace {

using registry::Index;

constexpr std::string_view kTagAnnotation = "org.opencontainers.image.ref.name";
constexpr size_t kMaxDepth = 4;        ///< of indexes in indexes
constexpr size_t kMaxDocuments = 128;  ///< manifests and indexes that are read to find one image
constexpr size_t kMaxEntries = 1024;
constexpr size_t kCopyBytes = 256 << 10;

struct Found {
  Digest digest;
  std::string json;
  Manifest manifest;
  std::string config_json;
  ImageConfig config;
};

/// Reads from a layout without ever leaving its folder.
class LayoutReader {
 public:
  LayoutReader(std::string folder, Fd fd, Platform platform)
      : folder_(std::move(folder)), fd_(std::move(fd)), platform_(std::move(platform)) {}

  static Result<LayoutReader> open(const std::string& folder, const Platform& platform);

  /// The image of that tag; nullopt where the layout has it for other platforms only.
  Result<std::optional<Found>> find(const std::string& tag);
  Result<> copy_blob(Store& store, const Descriptor& blob, const std::atomic<bool>& stop) const;

  [[nodiscard]] const std::vector<Platform>& seen() const { return seen_; }

 private:
  [[nodiscard]] Result<Fd> open_file(const std::string& path) const;
  [[nodiscard]] Result<std::string> read_file(const std::string& path, size_t max_bytes) const;
  [[nodiscard]] Result<std::string> read_blob(const Descriptor& blob, size_t max_bytes) const;
  Result<std::optional<Found>> find_in(const Index& index, size_t depth);
  Result<std::optional<Found>> resolve(const Descriptor& blob, size_t depth);
  Result<std::optional<Found>> take(const Digest& digest, std::string json, Manifest manifest);

  std::string folder_;
  Fd fd_;
  Platform platform_;
  std::vector<Platform> seen_;  ///< platforms that there are
  size_t documents_ = 0;
};

std::string blob_path(const Digest& digest) {
  return "blobs/sha256/" + digest.hex();
}

Result<LayoutReader> LayoutReader::open(const std::string& folder, const Platform& platform) {
  LayoutReader reader(folder, TRY(sys::open(folder, O_RDONLY | O_DIRECTORY)), platform);
  auto text = reader.read_file("oci-layout", 4096);
  if (!text && text.error().code == Code::not_found) {
    return fail(Code::manifest_invalid, folder + " is no OCI layout: it has no file oci-layout");
  }
  if (!text) return std::unexpected(std::move(text).error());
  const auto document = TRY(registry::JsonDocument::parse(*text, "oci-layout", Code::manifest_invalid));
  const std::string version = TRY(document.root().required_text("imageLayoutVersion"));
  if (!version.starts_with("1.")) {
    return document.root().wrong("imageLayoutVersion", "must be 1.x, not " + version.substr(0, 32));
  }
  return reader;
}

Result<Fd> LayoutReader::open_file(const std::string& path) const {
  // O_NONBLOCK: a FIFO would be waited for.
  auto fd = sys::open_beneath(fd_.get(), path, O_RDONLY | O_NONBLOCK);
  if (!fd) {
    Error error = std::move(fd).error();
    if (error.os_errno == ELOOP || error.os_errno == EXDEV) {
      return fail(Code::path_escape, folder_ + "/" + path + " goes through a symbolic link");
    }
    return std::unexpected(std::move(error).with_context(folder_));
  }
  const struct stat status = TRY(sys::fstat(fd->get()));
  if (!S_ISREG(status.st_mode)) return fail(Code::manifest_invalid, folder_ + "/" + path + " is no file");
  return fd;
}

Result<std::string> LayoutReader::read_file(const std::string& path, size_t max_bytes) const {
  const Fd fd = TRY(open_file(path));
  std::string content(max_bytes + 1, '\0');
  size_t filled = 0;
  for (;;) {
    const auto rest = std::as_writable_bytes(std::span(content)).subspan(filled);
    if (rest.empty()) {
      return fail(Code::image_too_large,
                  folder_ + "/" + path + " has more than " + std::to_string(max_bytes) + " bytes");
    }
    const size_t count = TRY(sys::read_some(fd.get(), rest, path));
    if (count == 0) break;
    filled += count;
  }
  content.resize(filled);
  return content;
}

Result<std::string> LayoutReader::read_blob(const Descriptor& blob, size_t max_bytes) const {
  const std::string path = blob_path(blob.digest);
  if (blob.size_bytes > max_bytes) {
    return fail(Code::image_too_large,
                folder_ + "/" + path + " is to have " + std::to_string(blob.size_bytes) + " bytes");
  }
  std::string content = TRY(read_file(path, max_bytes));
  if (content.size() != blob.size_bytes) {
    return fail(Code::size_mismatch, folder_ + "/" + path + " has " + std::to_string(content.size()) +
                                         " bytes, not " + std::to_string(blob.size_bytes));
  }
  if (Digest::of(content) != blob.digest) {
    return fail(Code::digest_mismatch, folder_ + "/" + path + " is not what its digest says");
  }
  return content;
}

/// An entry of index.json with its tag, which may be empty.
struct TaggedEntry {
  Descriptor manifest;
  std::string tag;
};

Result<std::vector<TaggedEntry>> read_entries(const std::string& json) {
  auto parsed = TRY(registry::parse_manifest(json, registry::media_type::kOciIndex));
  auto* index = std::get_if<Index>(&parsed);
  if (index == nullptr) return fail(Code::manifest_invalid, "index.json is no index");
  const auto document = TRY(registry::JsonDocument::parse(json, "index.json", Code::manifest_invalid));
  const auto objects = TRY(document.root().required_objects("manifests", kMaxEntries));
  std::vector<TaggedEntry> entries;
  for (size_t i = 0; i < objects.size(); ++i) {
    const auto annotations = TRY(objects[i].object("annotations"));
    std::string tag;
    if (annotations) tag = TRY(annotations->text(kTagAnnotation)).value_or("");
    entries.push_back({std::move(index->entries[i]), std::move(tag)});
  }
  return entries;
}

/// The tags there are, for people.
std::string listed_tags(const std::vector<TaggedEntry>& entries) {
  std::set<std::string> tags;
  for (const TaggedEntry& entry : entries) tags.insert(entry.tag.empty() ? "(none)" : entry.tag);
  std::string list;
  for (const std::string& tag : tags) list += (list.empty() ? "" : ", ") + tag;
  return list;
}

/// Which tag is meant where none is asked for: none, where entries have none, for there is no other way to
/// name those; else that of the only image, however many tags it has.
Result<std::string> meant_tag(const std::vector<TaggedEntry>& entries) {
  const auto is_untagged = [](const TaggedEntry& entry) { return entry.tag.empty(); };
  if (std::ranges::any_of(entries, is_untagged)) return std::string();
  const TaggedEntry& first = entries.front();
  const auto is_same = [&](const TaggedEntry& entry) {
    return entry.tag == first.tag || entry.manifest.digest == first.manifest.digest;
  };
  if (std::ranges::all_of(entries, is_same)) return first.tag;
  return fail(Code::invalid_argument,
              "the layout has several images; choose one by its tag: " + listed_tags(entries));
}

/// The entries of index.json under the tag, or those that are meant without one.
Result<Index> choose(const std::string& json, const std::string& tag) {
  const auto entries = TRY(read_entries(json));
  if (entries.empty()) return fail(Code::not_found, "the layout is empty");
  const std::string wanted = tag.empty() ? TRY(meant_tag(entries)) : tag;
  Index chosen{.media_type = std::string(registry::media_type::kOciIndex), .entries = {}};
  for (const TaggedEntry& entry : entries) {
    if (entry.tag == wanted) chosen.entries.push_back(entry.manifest);
  }
  if (chosen.entries.empty()) {
    return fail(Code::not_found, "no tag " + tag + "; there is " + listed_tags(entries));
  }
  return chosen;
}

Result<std::optional<Found>> LayoutReader::find(const std::string& tag) {
  const std::string json = TRY(read_file("index.json", kMaxManifestBytes));
  auto index = choose(json, tag);
  if (!index) return std::unexpected(std::move(index).error().with_context(folder_));
  // One image is taken for what its configuration says, whatever the index says or leaves out.
  if (index->entries.size() == 1) return resolve(index->entries[0], 1);
  return find_in(*index, 1);
}

Result<std::optional<Found>> LayoutReader::find_in(const Index& index, size_t depth) {
  std::ranges::move(registry::platforms_of(index), std::back_inserter(seen_));
  for (const Descriptor& candidate : registry::candidates_for(index, platform_)) {
    auto found = TRY(resolve(candidate, depth));
    if (found) return found;
  }
  return std::nullopt;
}

Result<std::optional<Found>> LayoutReader::resolve(const Descriptor& blob, size_t depth) {
  if (depth > kMaxDepth || ++documents_ > kMaxDocuments) {
    return fail(Code::manifest_invalid, folder_ + ": indexes are nested too deeply, or too many");
  }
  std::string json = TRY(read_blob(blob, kMaxManifestBytes));
  auto parsed = registry::parse_manifest(json, blob.media_type);
  if (!parsed) return std::unexpected(std::move(parsed).error().with_context(blob.digest.text()));
  if (const auto* index = std::get_if<Index>(&*parsed)) return find_in(*index, depth + 1);
  return take(blob.digest, std::move(json), std::get<Manifest>(std::move(*parsed)));
}

Result<std::optional<Found>> LayoutReader::take(const Digest& digest, std::string json, Manifest manifest) {
  std::string config_json = TRY(read_blob(manifest.config, ImageConfig::kMaxBytes));
  ImageConfig config = TRY(ImageConfig::parse(config_json, manifest.layers.size()));
  if (!registry::same_machine(config.platform, platform_)) {
    seen_.push_back(config.platform);
    return std::nullopt;
  }
  return Found{.digest = digest,
               .json = std::move(json),
               .manifest = std::move(manifest),
               .config_json = std::move(config_json),
               .config = std::move(config)};
}

Result<> LayoutReader::copy_blob(Store& store, const Descriptor& blob, const std::atomic<bool>& stop) const {
  if (store.has_blob(blob)) return {};
  const Fd fd = TRY(open_file(blob_path(blob.digest)));
  auto writer = TRY(store.new_blob(BlobWriter::Check::here));
  std::vector<std::byte> buffer(kCopyBytes);
  for (;;) {
    if (stop.load(std::memory_order_relaxed)) return fail(Code::cancelled, "stopped");
    const size_t count = TRY(sys::read_some(fd.get(), buffer, blob.digest.text()));
    if (count == 0) break;
    if (writer.size_bytes() + count > blob.size_bytes) {
      return fail(Code::size_mismatch, folder_ + ": " + blob.digest.text() + " is longer than " +
                                           std::to_string(blob.size_bytes) + " bytes");
    }
    TRY(writer.write(std::span(buffer).first(count)));
  }
  auto committed = writer.commit(blob);
  if (!committed) return std::unexpected(std::move(committed).error().with_context(folder_));
  return {};
}

}  // namespace

Result<LocalImage> import_oci_layout(Store& store, const std::string& folder, const std::string& tag,
                                     const Platform& platform, const ImageLimits& limits,
                                     const std::atomic<bool>& stop) {
  auto reader = TRY(LayoutReader::open(folder, platform));
  auto found = TRY(reader.find(tag));
  if (!found) return registry::platform_missing(platform, reader.seen());
  TRY(check_limits(found->manifest, limits));
  auto lease = TRY(store.lease(found->digest));
  TRY(store.put_blob(found->json, found->digest));
  TRY(store.put_blob(found->config_json, found->manifest.config.digest));
  for (const Descriptor& layer : found->manifest.layers) TRY(reader.copy_blob(store, layer, stop));
  return LocalImage{.digest = found->digest,
                    .manifest = std::move(found->manifest),
                    .config = std::move(found->config),
                    .lease = std::move(lease)};
}

}  // namespace lambdo::image
