#include "image/layers/layer.h"

#include <archive_entry.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <utility>

#include "image/layers/entry_path.h"
#include "image/layers/layer_stream.h"
#include "image/layers/tar_reader.h"

namespace lambdo::image {

namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kAufsOwn = ".wh..wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

// What the kernel can represent (include/linux/kdev_t.h).
constexpr int64_t kMaxMajor = (1 << 12) - 1;
constexpr int64_t kMaxMinor = (1 << 20) - 1;
constexpr int64_t kMaxId = 0xfffffffe;  // 0xffffffff means "as it is" in chown(2)

bool is_kept(std::string_view xattr) {
  return xattr.starts_with("user.") || xattr == "security.capability";
}

std::unexpected<Error> invalid(std::string message) {
  return fail(Code::layer_invalid, std::move(message));
}

Result<EntryKind> kind_of(archive_entry* header) {
  if (::archive_entry_hardlink(header) != nullptr) return EntryKind::hard_link;
  switch (::archive_entry_filetype(header)) {
    case AE_IFREG:
      return EntryKind::file;
    case AE_IFDIR:
      return EntryKind::folder;
    case AE_IFLNK:
      return EntryKind::symlink;
    case AE_IFCHR:
      return EntryKind::character_device;
    case AE_IFBLK:
      return EntryKind::block_device;
    case AE_IFIFO:
      return EntryKind::fifo;
    default:
      return invalid("a kind of entry that is not known");
  }
}

Result<FileMetadata> metadata_of(archive_entry* header) {
  const int64_t uid = ::archive_entry_uid(header);
  const int64_t gid = ::archive_entry_gid(header);
  if (uid < 0 || uid > kMaxId || gid < 0 || gid > kMaxId) return invalid("an owner that cannot be");
  FileMetadata metadata;
  metadata.mode = ::archive_entry_perm(header) & 07777U;
  metadata.uid = static_cast<uint32_t>(uid);
  metadata.gid = static_cast<uint32_t>(gid);
  metadata.mtime_s = ::archive_entry_mtime(header);
  // Of a negative time with a fraction libarchive may give a negative fraction.
  const long nanoseconds = ::archive_entry_mtime_nsec(header);
  if (nanoseconds >= 0 && nanoseconds < 1'000'000'000) metadata.mtime_ns = static_cast<uint32_t>(nanoseconds);
  return metadata;
}

struct Whiteout {
  bool is_ignored = false;
  EntryKind kind = EntryKind::whiteout;
  std::string path;
};

/// What an entry means whose name makes it none (OCI image 1.1, layer.md, "Whiteouts"); nullopt for others.
Result<std::optional<Whiteout>> whiteout_of(std::string_view path) {
  const auto [folder, name] = split_path(path);
  for (std::string_view rest = folder; !rest.empty();) {
    const std::string_view part = take_part(rest);
    // Where AUFS keeps what it needs itself, such as .wh..wh.plnk; Docker leaves it out, too.
    if (part.starts_with(kAufsOwn)) return Whiteout{.is_ignored = true};
    if (part.starts_with(kWhiteout)) return invalid("an entry in a folder that is a whiteout");
  }
  if (!name.starts_with(kWhiteout)) return std::nullopt;
  if (name == kOpaque) return Whiteout{.kind = EntryKind::opaque, .path = std::string(folder)};
  if (name.starts_with(kAufsOwn)) return Whiteout{.is_ignored = true};
  const std::string_view gone = name.substr(kWhiteout.size());
  if (gone.empty() || gone == "." || gone == "..") return invalid("a whiteout of nothing");
  std::string target(folder);
  if (!target.empty()) target += '/';
  return Whiteout{.kind = EntryKind::whiteout, .path = target.append(gone)};
}

}  // namespace

/// Turns the archive's entries into a Layer.
class LayerReader {
 public:
  LayerReader(LayerStream& stream, Spool::Writer spool, const LayerLimits& limits, MetadataBudget& budget)
      : stream_(&stream), tar_(stream), spool_(std::move(spool)), limits_(limits), share_(budget) {}

  Result<Layer> read(const std::optional<registry::Digest>& expected);

 private:
  Result<> read_entry(archive_entry* header);
  Result<> read_named(archive_entry* header, std::string_view name);
  Result<> fill_in(archive_entry* header, Entry& entry);
  Result<> read_target(const char* text, Entry& entry);
  Result<> read_device(archive_entry* header, Entry& entry);
  Result<> read_xattrs(archive_entry* header, Entry& entry);
  Result<> read_content(archive_entry* header, Entry& entry);
  Result<std::string_view> keep(std::string_view text);
  Result<std::span<const Xattr>> keep_xattrs(const std::vector<Xattr>& xattrs);
  Result<> drain();
  Result<> check_digest(const std::optional<registry::Digest>& expected) const;

  LayerStream* stream_;
  TarReader tar_;
  Spool::Writer spool_;
  LayerLimits limits_;
  MetadataBudget::Share share_;
  Layer layer_;
};

Result<Layer> LayerReader::read(const std::optional<registry::Digest>& expected) {
  TRY(tar_.open());
  while (archive_entry* header = TRY(tar_.next())) TRY(read_entry(header));
  TRY(drain());
  layer_.unpacked_bytes_ = stream_->size_bytes();
  layer_.diff_id_ = registry::Digest(stream_->hash());
  TRY(check_digest(expected));
  share_.keep();
  return std::move(layer_);
}

/// What follows the archive's end counts in its digest.
Result<> LayerReader::drain() {
  while (!TRY(stream_->next()).empty()) {
  }
  return {};
}

Result<> LayerReader::check_digest(const std::optional<registry::Digest>& expected) const {
  if (expected && *expected == layer_.diff_id_) return {};
  // Some writers leave the two blocks of zeros out, but not where the digest is another one too.
  if (!stream_->ends_in_zeros()) return invalid("the tar archive ends early");
  if (!expected) return {};
  return fail(Code::digest_mismatch,
              "unpacked it is " + layer_.diff_id_.text() + ", and should be " + expected->text());
}

Result<> LayerReader::read_entry(archive_entry* header) {
  const char* name = ::archive_entry_pathname(header);
  if (name == nullptr) return invalid("an entry without a name");
  auto read = read_named(header, name);
  if (read) return {};
  Error error = std::move(read).error();
  const bool is_about_entry = error.code == Code::layer_invalid || error.code == Code::image_too_large ||
                              error.code == Code::io || error.code == Code::resource_exhausted;
  return std::unexpected(is_about_entry ? std::move(error).with_context(quoted(name)) : std::move(error));
}

Result<> LayerReader::read_named(archive_entry* header, std::string_view name) {
  const std::string path = TRY(normal_path(name, limits_.path_bytes));
  const auto whiteout = TRY(whiteout_of(path));
  if (whiteout && whiteout->is_ignored) return {};
  TRY(share_.take_entry(sizeof(Entry)));
  Entry entry;
  if (whiteout) {
    entry.kind = whiteout->kind;
    entry.path = TRY(keep(whiteout->path));
  } else {
    entry.path = TRY(keep(path));
    TRY(fill_in(header, entry));
  }
  layer_.entries_.push_back(entry);
  return {};
}

Result<> LayerReader::fill_in(archive_entry* header, Entry& entry) {
  entry.kind = TRY(kind_of(header));
  if (entry.path.empty() && entry.kind != EntryKind::folder) return invalid("the root is no folder");
  if (entry.kind == EntryKind::hard_link) return read_target(::archive_entry_hardlink(header), entry);
  entry.metadata = TRY(metadata_of(header));
  TRY(read_xattrs(header, entry));
  switch (entry.kind) {
    case EntryKind::file:
      return read_content(header, entry);
    case EntryKind::symlink:
      return read_target(::archive_entry_symlink(header), entry);
    case EntryKind::character_device:
    case EntryKind::block_device:
      return read_device(header, entry);
    default:
      return {};
  }
}

Result<> LayerReader::read_target(const char* text, Entry& entry) {
  const std::string_view target = text == nullptr ? "" : text;
  if (target.empty()) return invalid("a link to nothing");
  if (target.size() > limits_.path_bytes) {
    return fail(Code::image_too_large,
                "a link's target of over " + std::to_string(limits_.path_bytes) + " bytes");
  }
  if (entry.kind == EntryKind::symlink) {
    entry.target = TRY(keep(target));
    return {};
  }
  // Some builders write "/usr/bin/x" for the image's usr/bin/x; whether that is there, the tree knows.
  const bool is_absolute = target.front() == '/';
  const std::string path = TRY(
      normal_path(target.substr(std::min(target.find_first_not_of('/'), target.size())), limits_.path_bytes));
  if (path.empty()) return invalid("a hard link to the root");
  entry.target = TRY(keep(is_absolute ? "/" + path : path));
  return {};
}

Result<> LayerReader::read_device(archive_entry* header, Entry& entry) {
  const auto major = static_cast<int64_t>(::archive_entry_rdevmajor(header));
  const auto minor = static_cast<int64_t>(::archive_entry_rdevminor(header));
  if (major < 0 || major > kMaxMajor || minor < 0 || minor > kMaxMinor) {
    return invalid("a device number that cannot be");
  }
  entry.major = static_cast<uint32_t>(major);
  entry.minor = static_cast<uint32_t>(minor);
  return {};
}

Result<> LayerReader::read_xattrs(archive_entry* header, Entry& entry) {
  const int count = ::archive_entry_xattr_reset(header);
  if (count == 0) return {};
  std::vector<Xattr> found;  // in the header's memory
  size_t len_bytes = 0;
  for (int i = 0; i < count; ++i) {
    const char* name = nullptr;
    const void* value = nullptr;
    size_t value_bytes = 0;
    if (::archive_entry_xattr_next(header, &name, &value, &value_bytes) != ARCHIVE_OK) break;
    if (name == nullptr || !is_kept(name)) {
      ++layer_.skipped_xattrs_;
      continue;
    }
    len_bytes += value_bytes + std::string_view(name).size();
    if (found.size() == limits_.xattrs || len_bytes > limits_.xattr_bytes) {
      return fail(Code::image_too_large, "more than " + std::to_string(limits_.xattrs) + " attributes or " +
                                             std::to_string(limits_.xattr_bytes) + " bytes of them");
    }
    found.push_back({.name = name, .value = {static_cast<const char*>(value), value_bytes}});
  }
  std::ranges::sort(found, {}, &Xattr::name);
  entry.xattrs = TRY(keep_xattrs(found));
  return {};
}

Result<std::span<const Xattr>> LayerReader::keep_xattrs(const std::vector<Xattr>& xattrs) {
  if (xattrs.empty()) return std::span<const Xattr>();
  // Files that have attributes at all mostly have those of the one before.
  auto& lists = layer_.xattrs_;
  if (!lists.empty() && lists.back() == xattrs) return lists.back();
  TRY(share_.take(sizeof(std::vector<Xattr>) + xattrs.size() * sizeof(Xattr)));
  std::vector<Xattr> kept;
  kept.reserve(xattrs.size());
  for (const Xattr& xattr : xattrs)
    kept.push_back({.name = TRY(keep(xattr.name)), .value = TRY(keep(xattr.value))});
  return lists.emplace_back(std::move(kept));
}

Result<std::string_view> LayerReader::keep(std::string_view text) {
  TRY(share_.take(text.size() + 1));
  return layer_.strings_.keep(text);
}

Result<> LayerReader::read_content(archive_entry* header, Entry& entry) {
  const int64_t size = ::archive_entry_size(header);
  if (size < 0) return invalid("a size that cannot be");
  entry.size_bytes = static_cast<uint64_t>(size);
  if (entry.size_bytes > limits_.file_bytes) {
    return fail(Code::image_too_large, "a file of over " + std::to_string(limits_.file_bytes) + " bytes");
  }
  if (size == 0) return {};
  Spool::File file = TRY(spool_.begin(entry.size_bytes, entry.metadata.mode));
  uint64_t end = 0;
  while (const auto block = TRY(tar_.read())) {
    if (block->offset < end || block->offset > entry.size_bytes ||
        block->data.size() > entry.size_bytes - block->offset) {
      return invalid("a content that is not of the size in its header");
    }
    if (block->data.empty()) continue;
    TRY(file.write(block->offset, block->data));
    end = block->offset + block->data.size();
  }
  entry.content = TRY(file.finish(entry.metadata, entry.xattrs));
  return {};
}

Result<Layer> read_layer(LayerSource source, Spool& spool, const LayerLimits& limits,
                         const std::atomic<bool>& stop, MetadataBudget* budget) {
  const LayerCompression compression = TRY(layer_compression(source.media_type));
  Spool::Writer writer = TRY(spool.writer());
  LayerStream stream(compression, std::move(source.read), limits.unpacked_bytes, stop);
  MetadataBudget own;
  return LayerReader(stream, std::move(writer), limits, budget != nullptr ? *budget : own)
      .read(source.diff_id);
}

}  // namespace lambdo::image
