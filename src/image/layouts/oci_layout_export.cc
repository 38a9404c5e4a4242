#include <fcntl.h>
#include <simdjson.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/syscalls.h"
#include "image/image_manifest.h"
#include "image/layouts/oci_layout.h"
#include "image/stopped.h"
#include "image/store/file_lock.h"
#include "registry/json_object.h"

namespace lambdo::image {

namespace {

constexpr std::string_view kTagAnnotation = "org.opencontainers.image.ref.name";
constexpr std::string_view kLayoutFile = R"({"imageLayoutVersion":"1.0.0"})";
constexpr size_t kMaxEntries = 1024;
constexpr size_t kCopyBytes = 256 << 10;
constexpr std::string_view kPartial = ".lambdo-part";
constexpr int kLockLimitMs = 600'000;

/// A folder of the target. Files are made under another name first and synced, so that a broken export, or a
/// machine that goes down, leaves nothing half-made under theirs.
class TargetFolder {
 public:
  TargetFolder(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  /// Held as long as this object lives: one export at a time, for each writes the whole index anew. The
  /// folder itself is what is locked, so that nothing of ours stays in it.
  [[nodiscard]] Result<> lock(const std::atomic<bool>& stop) const;
  /// What exports that were killed left in it.
  [[nodiscard]] Result<> remove_partial() const;
  [[nodiscard]] Result<> sync() const { return sys::fsync(fd_.get(), path_); }
  [[nodiscard]] Result<TargetFolder> subfolder(const char* name) const;
  [[nodiscard]] Result<std::optional<std::string>> read(const char* name) const;
  [[nodiscard]] bool has(const std::string& name, uint64_t size_bytes) const;
  [[nodiscard]] Result<> write(const std::string& name, std::string_view content) const;
  /// `fill` writes to the descriptor that it is given.
  template <typename Fill>
  [[nodiscard]] Result<> write_with(const std::string& name, Fill fill) const;

 private:
  Fd fd_;
  std::string path_;
};

Result<> TargetFolder::lock(const std::atomic<bool>& stop) const {
  return poll_lock(path_, kLockLimitMs, &stop, [this] { return sys::try_flock(fd_.get(), LOCK_EX); });
}

Result<> TargetFolder::remove_partial() const {
  for (const std::string& name : TRY(sys::list_directory(path_))) {
    if (!name.starts_with('.') || !name.ends_with(kPartial)) continue;
    if (::unlinkat(fd_.get(), name.c_str(), 0) < 0 && errno != ENOENT) {
      return fail_errno("remove " + path_ + "/" + name + ", which an export left that was killed");
    }
  }
  return {};
}

Result<TargetFolder> TargetFolder::subfolder(const char* name) const {
  TRY(sys::make_subfolder(fd_.get(), name, 0755));
  return TargetFolder(TRY(sys::open_beneath(fd_.get(), name, O_RDONLY | O_DIRECTORY)), path_ + "/" + name);
}

Result<std::optional<std::string>> TargetFolder::read(const char* name) const {
  auto fd = sys::open_beneath(fd_.get(), name, O_RDONLY | O_NONBLOCK);
  if (!fd && fd.error().code == Code::not_found) return std::nullopt;
  if (!fd) return std::unexpected(std::move(fd).error().with_context(path_));
  std::string content(kMaxManifestBytes + 1, '\0');
  size_t filled = 0;
  for (;;) {
    const auto rest = std::as_writable_bytes(std::span(content)).subspan(filled);
    if (rest.empty()) return fail(Code::image_too_large, path_ + "/" + name + " is over 4 MiB");
    const size_t count = TRY(sys::read_some(fd->get(), rest, name));
    if (count == 0) break;
    filled += count;
  }
  content.resize(filled);
  return content;
}

bool TargetFolder::has(const std::string& name, uint64_t size_bytes) const {
  struct stat status{};
  return ::fstatat(fd_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
         static_cast<uint64_t>(status.st_size) == size_bytes;
}

template <typename Fill>
Result<> TargetFolder::write_with(const std::string& name, Fill fill) const {
  const std::string temporary = "." + name + std::string(kPartial);
  auto fd = sys::open_beneath(fd_.get(), temporary, O_WRONLY | O_CREAT | O_EXCL, 0644);
  if (!fd) return std::unexpected(std::move(fd).error().with_context(path_));
  Result<> filled = fill(fd->get());
  if (filled) filled = sys::fsync(fd->get(), name);
  if (filled && ::renameat(fd_.get(), temporary.c_str(), fd_.get(), name.c_str()) < 0) {
    filled = fail_errno("rename " + path_ + "/" + name);
  }
  if (filled) return {};
  static_cast<void>(::unlinkat(fd_.get(), temporary.c_str(), 0));
  return std::unexpected(std::move(filled).error().with_context(path_));
}

Result<> TargetFolder::write(const std::string& name, std::string_view content) const {
  return write_with(name, [content](int fd) { return sys::write_all(fd, content); });
}

Result<> export_blob(Store& store, const Descriptor& blob, const TargetFolder& blobs,
                     const std::atomic<bool>& stop) {
  if (blobs.has(blob.digest.hex(), blob.size_bytes)) return {};
  BlobReader reader(store, TRY(store.open_blob(blob)), blob);
  return blobs.write_with(blob.digest.hex(), [&](int fd) -> Result<> {
    std::vector<std::byte> buffer(kCopyBytes);
    for (;;) {
      if (is_stopped(&stop)) return fail(Code::cancelled, "stopped");
      const size_t count = TRY(reader.read(buffer));
      if (count == 0) return {};
      TRY(sys::write_all(fd, {reinterpret_cast<const char*>(buffer.data()), count}));
    }
  });
}

/// Whether an entry of the index there is stays beside the new image: another tag, or none and other content.
bool stays(simdjson::dom::element entry, const std::string& tag, const Digest& digest) {
  std::string_view own;
  if (entry["annotations"][kTagAnnotation].get(own) != simdjson::SUCCESS) own = {};
  std::string_view content;
  if (entry["digest"].get(content) != simdjson::SUCCESS) content = {};
  return own != tag || (tag.empty() && content != digest.text());
}

/// The index with the new image in it; other entries stay as they are.
Result<std::string> write_index(const std::optional<std::string>& before, const Descriptor& manifest,
                                const Platform& platform, const std::string& tag) {
  JsonWriter json;
  json.begin_object()
      .field("schemaVersion", 2)
      .field("mediaType", registry::media_type::kOciIndex)
      .key("manifests")
      .begin_array();
  simdjson::dom::parser parser;
  simdjson::dom::array entries;
  if (before && parser.parse(*before)["manifests"].get(entries) != simdjson::SUCCESS) {
    return fail(Code::manifest_invalid, "the index.json that is there is not an index");
  }
  size_t count = 0;
  if (before) {
    for (const simdjson::dom::element entry : entries) {
      if (++count == kMaxEntries) return fail(Code::resource_exhausted, "the layout has too many images");
      if (stays(entry, tag, manifest.digest)) json.raw(simdjson::minify(entry));
    }
  }
  json.begin_object();
  write_descriptor_members(json, manifest);
  json.key("platform").begin_object().field("architecture", platform.architecture).field("os", platform.os);
  if (!platform.variant.empty()) json.field("variant", platform.variant);
  json.end_object();
  if (!tag.empty()) json.key("annotations").begin_object().field(kTagAnnotation, tag).end_object();
  json.end_object().end_array().end_object();
  return json.take();
}

}  // namespace

/// A folder above it that is missing is a mistyped path more often than wanted: the same as for files.
static Result<> make_last_folder(const std::string& folder) {
  auto made = sys::mkdir(folder, 0755);
  if (made || made.error().os_errno == EEXIST) return {};
  if (made.error().os_errno == ENOENT) {
    return fail(Code::invalid_argument,
                folder + ": there is no folder in which it could be made; make that first");
  }
  return made;
}

/// As OCI's own kind of manifest, whatever it came as.
static Result<std::string> manifest_text(Store& store, const LocalImage& image) {
  if (image.manifest.media_type != registry::media_type::kOciManifest) {
    return write_oci_manifest(image.manifest);
  }
  return store.read_blob(image.digest, kMaxManifestBytes);
}

/// All that the index leads to; on the disk before the index is.
static Result<Descriptor> export_blobs(Store& store, const LocalImage& image, const TargetFolder& target,
                                       const std::atomic<bool>& stop) {
  const TargetFolder all_blobs = TRY(target.subfolder("blobs"));
  const TargetFolder blobs = TRY(all_blobs.subfolder("sha256"));
  TRY(blobs.remove_partial());
  TRY(export_blob(store, image.manifest.config, blobs, stop));
  for (const Descriptor& layer : image.manifest.layers) TRY(export_blob(store, layer, blobs, stop));
  const std::string manifest = TRY(manifest_text(store, image));
  const Digest digest = Digest::of(manifest);
  TRY(blobs.write(digest.hex(), manifest));
  TRY(blobs.sync());
  TRY(all_blobs.sync());
  return Descriptor{.media_type = std::string(registry::media_type::kOciManifest),
                    .digest = digest,
                    .size_bytes = manifest.size(),
                    .platform = {}};
}

Result<> export_oci_layout(Store& store, const LocalImage& image, const std::string& folder,
                           const std::string& tag, const std::atomic<bool>& stop) {
  TRY(make_last_folder(folder));
  const TargetFolder target(TRY(sys::open(folder, O_RDONLY | O_DIRECTORY)), folder);
  TRY(target.lock(stop));
  TRY(target.remove_partial());
  const auto layout = TRY(target.read("oci-layout"));
  const auto before = TRY(target.read("index.json"));
  if (before && !layout) {
    return fail(Code::invalid_argument, folder + " has an index.json, but is no OCI layout");
  }
  const Descriptor manifest = TRY(export_blobs(store, image, target, stop));
  const std::string index = TRY(write_index(before, manifest, image.config.platform, tag));
  if (!layout) TRY(target.write("oci-layout", kLayoutFile));
  TRY(target.write("index.json", index));
  return target.sync();
}

}  // namespace lambdo::image
