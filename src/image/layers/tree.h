#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "image/layers/layer.h"
#include "image/layers/metadata_budget.h"
#include "image/layers/node_table.h"
#include "image/layers/sip_hash.h"
#include "image/layers/spool.h"
#include "image/layers/string_arena.h"

namespace lambdo::image {

struct TreeLimits {
  size_t entries = 1'000'000;
  size_t path_bytes = 4095;
};

/// A file, folder or other thing, with one name or more.
struct Inode {
  int64_t mtime_s = 0;
  uint64_t size_bytes = 0;  ///< of regular files
  uint32_t mtime_ns = 0;
  uint32_t mode = S_IFDIR | 0755;  ///< as st_mode: type and permissions
  uint32_t uid = 0;
  uint32_t gid = 0;
  Content content;
  std::string_view target;  ///< of a symlink; of a StringArena
  uint32_t major = 0;       ///< of devices
  uint32_t minor = 0;
  uint32_t links = 0;   ///< names it has
  uint32_t xattrs = 0;  ///< for Tree::xattrs()

  [[nodiscard]] bool is_folder() const { return S_ISDIR(mode); }
  [[nodiscard]] bool is_file() const { return S_ISREG(mode); }
  [[nodiscard]] bool is_symlink() const { return S_ISLNK(mode); }
  [[nodiscard]] bool is_device() const { return S_ISCHR(mode) || S_ISBLK(mode); }
  [[nodiscard]] FileMetadata metadata() const {
    return {.mode = mode & 07777U, .uid = uid, .gid = gid, .mtime_s = mtime_s, .mtime_ns = mtime_ns};
  }
};

/// The file system of an image, in memory: what its layers are merged into. Contents of files are in the
/// spool. Nothing in here asks the host's file system for anything but them.
class Tree {
 public:
  using NodeId = NodeTable::Id;
  using InodeId = uint32_t;
  static constexpr NodeId kRoot = 0;
  static constexpr NodeId kNone = NodeTable::kNone;

  /// One name of an inode in a folder.
  struct Node {
    std::string_view name;  ///< of a StringArena
    NodeId parent = kNone;
    InodeId inode = 0;
    NodeId first_child = kNone;
    NodeId next = kNone;  ///< in the same folder
    NodeId previous = kNone;
    uint32_t layer = 0;  ///< the last one that touched it or something in it
  };

  /// `budget` is that of all of the image's layers; null: the tree has one of its own.
  explicit Tree(const TreeLimits& limits, std::shared_ptr<MetadataBudget> budget = nullptr);
  Tree() : Tree(TreeLimits()) {}
  Tree(Tree&&) noexcept = default;
  Tree& operator=(Tree&&) noexcept = default;

  /// Lays `layer` over what there is, as `umoci unpack` would. Symlinks in an entry's folder are followed
  /// inside the tree, as in a chroot; folders that are missing are made, 0755, root's and of the year 1970.
  ///
  /// layer_invalid: a folder that is none, a hard link to what is not there or to a folder, a loop of
  /// symlinks. path_escape: a hard link to an absolute path that is not in the image. image_too_large: a
  /// limit. cancelled: `stop`. The tree is of no use after an error.
  Result<> apply(const Layer& layer, const std::atomic<bool>& stop);

  [[nodiscard]] const Node& node(NodeId id) const { return nodes_[id]; }
  [[nodiscard]] const Inode& inode(InodeId id) const { return inodes_[id]; }
  [[nodiscard]] const Inode& inode_of(NodeId id) const { return inodes_[nodes_[id].inode]; }
  /// Sorted by name.
  [[nodiscard]] std::span<const Xattr> xattrs(const Inode& inode) const { return xattrs_[inode.xattrs]; }
  /// What is in a folder, sorted by the bytes of the names.
  [[nodiscard]] std::vector<NodeId> children(NodeId folder) const;
  /// "usr/bin/env"; empty for the root.
  [[nodiscard]] std::string path(NodeId id) const;

  enum class LastPart { is_followed, is_taken_as_it_is };
  /// What is at a path ('/' in front or not), symlinks followed inside the tree. kNone where nothing is
  /// there.
  [[nodiscard]] NodeId find(std::string_view path, LastPart last = LastPart::is_followed) const;
  /// The content of a regular file that is still in the spool, for the likes of /etc/passwd.
  /// invalid_argument: no regular file. payload_too_large: over `max_bytes`.
  [[nodiscard]] Result<std::string> read(const Spool& spool, NodeId file, size_t max_bytes) const;

  /// Names that there are, the root's too.
  [[nodiscard]] size_t size() const { return nodes_.size() - free_nodes_.size(); }
  /// Larger than every InodeId.
  [[nodiscard]] size_t inode_bound() const { return inodes_.size(); }
  /// Of all regular files, each once.
  [[nodiscard]] uint64_t content_bytes() const;

 private:
  /// Where a path leads.
  struct Place {
    NodeId node = kNone;  ///< kNone: nothing is there
    NodeId folder = kNone;
    bool has_loop = false;
  };

  [[nodiscard]] NodeId child(NodeId folder, std::string_view name) const;
  [[nodiscard]] Place look_up(std::string_view path, LastPart last) const;
  Result<NodeId> make_folders(std::string_view path);
  Result<NodeId> folder_of(std::string_view path);

  Result<> apply_entry(const Entry& entry);
  Result<> place(const Entry& entry);
  Result<> link(const Entry& entry, NodeId folder, std::string_view name);
  Result<> white_out(const Entry& entry);
  Result<InodeId> new_inode(const Entry& entry);
  Result<> fill_in(Inode& inode, const Entry& entry);
  Result<std::string_view> keep(std::string_view text);
  Result<uint32_t> keep_xattrs(std::span<const Xattr> xattrs, uint32_t before);

  /// `kept`: the name as the tree has it already, or nothing.
  Result<NodeId> add(NodeId folder, std::string_view name, InodeId inode, std::string_view kept = {});
  void remove(NodeId id);
  void remove_lower(NodeId id);
  void remove_lower_children(NodeId folder);
  void unlink(NodeId id);
  void touch(NodeId id);
  [[nodiscard]] uint32_t hash_of(NodeId folder, std::string_view name) const {
    return static_cast<uint32_t>(sip_hash_(folder, name));
  }
  [[nodiscard]] uint32_t hash_of(NodeId id) const { return hash_of(nodes_[id].parent, nodes_[id].name); }

  TreeLimits limits_;
  std::shared_ptr<MetadataBudget> budget_;
  StringArena strings_;
  std::deque<Node> nodes_;
  std::deque<Inode> inodes_;
  std::deque<std::vector<Xattr>> xattrs_;
  std::vector<NodeId> free_nodes_;
  std::vector<InodeId> free_inodes_;
  SipHash sip_hash_;  ///< its key decides nothing but places in the table
  NodeTable table_;
  uint32_t layer_ = 0;
  /// The folder that the last entry was in: most are in the same one as the entry before.
  std::string last_path_;
  NodeId last_folder_ = kNone;
};

}  // namespace lambdo::image
