#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "image/layers/decompressor.h"
#include "image/layers/file_metadata.h"
#include "image/layers/metadata_budget.h"
#include "image/layers/spool.h"
#include "image/layers/string_arena.h"
#include "registry/digest.h"

/// One layer of an image: a changeset as a tar archive (OCI image 1.1, layer.md).
namespace lambdo::image {

struct LayerLimits {
  uint64_t unpacked_bytes = uint64_t{16} << 30;  ///< of the tar archive
  uint64_t file_bytes = uint64_t{8} << 30;       ///< of one file, holes included
  size_t path_bytes = 4095;                      ///< of a name or a link's target, as Linux's PATH_MAX
  size_t xattrs = 32;                            ///< of one entry
  size_t xattr_bytes = 64 << 10;
};

enum class EntryKind : uint8_t {
  file,
  folder,
  symlink,
  hard_link,  ///< another name of `target`, a path below the image's root
  character_device,
  block_device,
  fifo,
  whiteout,  ///< `path` of lower layers is gone
  opaque,    ///< all in the folder `path` of lower layers is gone
};

/// One entry in the order of the archive. Views into the layer.
struct Entry {
  EntryKind kind = EntryKind::file;
  std::string_view path;    ///< normal: no leading or trailing '/', no "." and ".."; empty is the root folder
  std::string_view target;  ///< of links
  FileMetadata metadata;
  uint32_t major = 0;
  uint32_t minor = 0;
  uint64_t size_bytes = 0;
  Content content;  ///< of files that are not empty
  std::span<const Xattr> xattrs;
};

class Layer {
 public:
  Layer() = default;
  Layer(Layer&&) noexcept = default;
  Layer& operator=(Layer&&) noexcept = default;

  [[nodiscard]] const std::deque<Entry>& entries() const { return entries_; }
  /// Of the tar archive.
  [[nodiscard]] uint64_t unpacked_bytes() const { return unpacked_bytes_; }
  [[nodiscard]] const registry::Digest& diff_id() const { return diff_id_; }
  /// Attributes that are not kept: all but user.* and security.capability.
  [[nodiscard]] size_t skipped_xattrs() const { return skipped_xattrs_; }

 private:
  friend class LayerReader;

  StringArena strings_;
  // Deques, for they do not copy themselves into twice the memory while they grow.
  std::deque<Entry> entries_;
  std::deque<std::vector<Xattr>> xattrs_;
  uint64_t unpacked_bytes_ = 0;
  size_t skipped_xattrs_ = 0;
  registry::Digest diff_id_;
};

struct LayerSource {
  ReadBlob read;
  std::string media_type;                   ///< one of registry::media_type's layers
  std::optional<registry::Digest> diff_id;  ///< of the image's configuration; checked where given
};

/// Reads a layer; the contents of its files go to `spool`. Blocks; looks at `stop` often. Uses one thread
/// more, which decompresses.
///
/// `budget` is that of all of the image's layers; null: this layer has one of its own.
///
/// media_type_unsupported: another media type, or content that is compressed in another way than it says.
/// layer_invalid: damaged, truncated, or an entry that makes no sense. path_escape: an absolute name or one
/// with "..". image_too_large: over a limit. digest_mismatch: whole, and not what `diff_id` says. cancelled:
/// `stop`. Messages name the entry. What is in the spool by then stays there.
Result<Layer> read_layer(LayerSource source, Spool& spool, const LayerLimits& limits,
                         const std::atomic<bool>& stop, MetadataBudget* budget = nullptr);

}  // namespace lambdo::image
