#include "image/layers/tree.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "image/layers/entry_path.h"

namespace lambdo::image {

namespace {

constexpr size_t kMaxSymlinks = 40;  // as many as Linux follows in one path
constexpr size_t kEntriesPerLook = 256;
// With its places in the table of nodes, of which at least three eighths are taken, and in the list of free
// ones.
constexpr size_t kNodeBytes = sizeof(Tree::Node) + 4 * sizeof(Tree::NodeId);

std::unexpected<Error> invalid(std::string message) {
  return fail(Code::layer_invalid, std::move(message));
}

uint32_t type_bits(EntryKind kind) {
  switch (kind) {
    case EntryKind::file:
      return S_IFREG;
    case EntryKind::folder:
      return S_IFDIR;
    case EntryKind::symlink:
      return S_IFLNK;
    case EntryKind::character_device:
      return S_IFCHR;
    case EntryKind::block_device:
      return S_IFBLK;
    case EntryKind::fifo:
      return S_IFIFO;
    default:
      return 0;
  }
}

}  // namespace

Tree::Tree(const TreeLimits& limits, std::shared_ptr<MetadataBudget> budget)
    : limits_(limits), budget_(budget ? std::move(budget) : std::make_shared<MetadataBudget>()) {
  xattrs_.emplace_back();
  inodes_.push_back({.links = 1});
  nodes_.push_back({.inode = 0});
}

Result<> Tree::apply(const Layer& layer, const std::atomic<bool>& stop) {
  ++layer_;
  last_folder_ = kNone;
  size_t count = 0;
  for (const Entry& entry : layer.entries()) {
    if (++count % kEntriesPerLook == 0 && stop) return fail(Code::cancelled, "stopped");
    if (auto applied = apply_entry(entry); !applied) {
      return std::unexpected(std::move(applied).error().with_context(quoted(entry.path)));
    }
  }
  return {};
}

Result<> Tree::apply_entry(const Entry& entry) {
  if (entry.kind == EntryKind::whiteout || entry.kind == EntryKind::opaque) return white_out(entry);
  if (!entry.path.empty()) return place(entry);
  if (entry.kind != EntryKind::folder) return invalid("the root is no folder");
  TRY(fill_in(inodes_[nodes_[kRoot].inode], entry));
  touch(kRoot);
  return {};
}

Result<> Tree::place(const Entry& entry) {
  const auto [folder_path, name] = split_path(entry.path);
  const NodeId folder = TRY(folder_of(folder_path));
  const NodeId there = child(folder, name);
  std::string_view kept;
  if (there != kNone) {
    if (entry.kind == EntryKind::folder && inode_of(there).is_folder()) {
      TRY(fill_in(inodes_[nodes_[there].inode], entry));
      touch(there);
      return {};
    }
    kept = nodes_[there].name;
    remove(there);
  }
  if (entry.kind == EntryKind::hard_link) return link(entry, folder, name);
  const InodeId inode = TRY(new_inode(entry));
  touch(TRY(add(folder, name, inode, kept)));
  return {};
}

Result<> Tree::link(const Entry& entry, NodeId folder, std::string_view name) {
  const Place target = look_up(entry.target, LastPart::is_taken_as_it_is);
  if (target.node == kNone) {
    if (entry.target.starts_with('/')) {
      return fail(Code::path_escape,
                  "a hard link to " + quoted(entry.target) + ", which is not in the image");
    }
    return invalid("a hard link to " + quoted(entry.target) + ", which is not there");
  }
  if (inode_of(target.node).is_folder()) {
    return invalid("a hard link to " + quoted(entry.target) + ", which is a folder");
  }
  touch(TRY(add(folder, name, nodes_[target.node].inode)));
  return {};
}

/// Only what lower layers brought goes, whatever the order in this layer's archive.
Result<> Tree::white_out(const Entry& entry) {
  const bool is_opaque = entry.kind == EntryKind::opaque;
  const Place place = look_up(entry.path, is_opaque ? LastPart::is_followed : LastPart::is_taken_as_it_is);
  if (place.has_loop) return invalid("a loop of symlinks");
  if (place.node == kNone) return {};
  if (!is_opaque) {
    remove_lower(place.node);
  } else if (inode_of(place.node).is_folder()) {
    remove_lower_children(place.node);
  }
  return {};
}

Result<Tree::InodeId> Tree::new_inode(const Entry& entry) {
  InodeId id = static_cast<InodeId>(inodes_.size());
  if (free_inodes_.empty()) {
    TRY(budget_->take(sizeof(Inode)));
    inodes_.emplace_back();
  } else {
    id = free_inodes_.back();
    free_inodes_.pop_back();
    inodes_[id] = Inode();
  }
  TRY(fill_in(inodes_[id], entry));
  return id;
}

Result<> Tree::fill_in(Inode& inode, const Entry& entry) {
  inode.mode = type_bits(entry.kind) | entry.metadata.mode;
  // Symlinks have no permissions; archives say one thing or another.
  if (inode.is_symlink()) inode.mode = S_IFLNK | 0777;
  inode.uid = entry.metadata.uid;
  inode.gid = entry.metadata.gid;
  inode.mtime_s = entry.metadata.mtime_s;
  inode.mtime_ns = entry.metadata.mtime_ns;
  inode.size_bytes = entry.size_bytes;
  inode.content = entry.content;
  inode.major = entry.major;
  inode.minor = entry.minor;
  if (!entry.target.empty()) inode.target = TRY(keep(entry.target));
  inode.xattrs = TRY(keep_xattrs(entry.xattrs, inode.xattrs));
  return {};
}

Result<std::string_view> Tree::keep(std::string_view text) {
  TRY(budget_->take(text.size() + 1));
  return strings_.keep(text);
}

/// Lists are kept as long as the tree: a folder that every layer has again with the same ones needs no new
/// one.
Result<uint32_t> Tree::keep_xattrs(std::span<const Xattr> xattrs, uint32_t before) {
  if (xattrs.empty()) return 0;
  const auto last = static_cast<uint32_t>(xattrs_.size() - 1);
  for (const uint32_t there : {before, last}) {
    if (std::ranges::equal(xattrs_[there], xattrs)) return there;
  }
  std::vector<Xattr> kept;
  TRY(budget_->take(sizeof(std::vector<Xattr>) + xattrs.size_bytes()));
  kept.reserve(xattrs.size());
  for (const Xattr& xattr : xattrs)
    kept.push_back({.name = TRY(keep(xattr.name)), .value = TRY(keep(xattr.value))});
  xattrs_.push_back(std::move(kept));
  return last + 1;
}

Tree::NodeId Tree::child(NodeId folder, std::string_view name) const {
  return table_.find(hash_of(folder, name),
                     [&](NodeId id) { return nodes_[id].parent == folder && nodes_[id].name == name; });
}

Tree::Place Tree::look_up(std::string_view path, LastPart last) const {
  std::string expanded;  // the path from the last symlink on
  std::string_view rest = path;
  Place at = {.node = kRoot, .folder = kRoot};
  size_t symlinks = 0;
  while (!rest.empty()) {
    const std::string_view part = take_part(rest);
    if (part.empty() || part == ".") continue;
    if (!inode_of(at.node).is_folder()) return {};
    at.folder = at.node;
    at.node = part == ".." ? (at.folder == kRoot ? kRoot : nodes_[at.folder].parent) : child(at.folder, part);
    if (at.node == kNone) return rest.empty() ? at : Place();
    const bool is_last = rest.empty();
    if (!inode_of(at.node).is_symlink() || (is_last && last == LastPart::is_taken_as_it_is)) continue;
    const std::string_view target = inode_of(at.node).target;
    if (++symlinks > kMaxSymlinks || target.size() + rest.size() > 2 * limits_.path_bytes) {
      return {.has_loop = true};
    }
    at.node = target.starts_with('/') ? kRoot : at.folder;
    std::string next(target);
    if (!is_last) next.append("/").append(rest);
    expanded = std::move(next);
    rest = expanded;
  }
  return at;
}

/// Like look_up, and what is missing is made. The path is that of an entry, and its symlinks' targets are the
/// image's too: both are followed from the root on, and a target's parts are made as well.
Result<Tree::NodeId> Tree::make_folders(std::string_view path) {
  std::string expanded;
  std::string_view rest = path;
  NodeId at = kRoot;
  size_t symlinks = 0;
  while (!rest.empty()) {
    const std::string_view part = take_part(rest);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (at != kRoot) at = nodes_[at].parent;
      continue;
    }
    NodeId next = child(at, part);
    if (next == kNone) {
      const InodeId inode = TRY(new_inode({.kind = EntryKind::folder, .metadata = {.mode = 0755}}));
      next = TRY(add(at, part, inode));
    } else if (inode_of(next).is_symlink()) {
      const std::string_view target = inode_of(next).target;
      if (++symlinks > kMaxSymlinks || target.size() + rest.size() > 2 * limits_.path_bytes) {
        return invalid("a loop of symlinks");
      }
      if (target.starts_with('/')) at = kRoot;
      std::string longer(target);
      longer.append("/").append(rest);
      expanded = std::move(longer);
      rest = expanded;
      continue;
    } else if (!inode_of(next).is_folder()) {
      return invalid(quoted(this->path(next)) + " is no folder");
    }
    at = next;
  }
  return at;
}

Result<Tree::NodeId> Tree::folder_of(std::string_view path) {
  if (last_folder_ == kNone || last_path_ != path) {
    last_folder_ = TRY(make_folders(path));
    last_path_ = path;
  }
  return last_folder_;
}

Result<Tree::NodeId> Tree::add(NodeId folder, std::string_view name, InodeId inode, std::string_view kept) {
  if (size() > limits_.entries) {
    return fail(Code::image_too_large, "more than " + std::to_string(limits_.entries) + " files and folders");
  }
  // Symlinks can make a path longer than the entry's name.
  size_t path_bytes = name.size();
  for (NodeId at = folder; at != kRoot; at = nodes_[at].parent) path_bytes += nodes_[at].name.size() + 1;
  if (path_bytes > limits_.path_bytes) {
    return fail(Code::image_too_large, "a path of over " + std::to_string(limits_.path_bytes) + " bytes");
  }
  if (kept.empty()) kept = TRY(keep(name));
  NodeId id = static_cast<NodeId>(nodes_.size());
  if (free_nodes_.empty()) {
    TRY(budget_->take(kNodeBytes));
    nodes_.emplace_back();
  } else {
    id = free_nodes_.back();
    free_nodes_.pop_back();
  }
  const NodeId sibling = nodes_[folder].first_child;
  nodes_[id] = {.name = kept, .parent = folder, .inode = inode, .next = sibling};
  if (sibling != kNone) nodes_[sibling].previous = id;
  nodes_[folder].first_child = id;
  ++inodes_[inode].links;
  table_.insert(hash_of(id), id, [this](NodeId other) { return hash_of(other); });
  return id;
}

void Tree::remove(NodeId id) {
  // Depth first, without recursion: a hostile tree may be deep.
  NodeId at = id;
  while (true) {
    if (nodes_[at].first_child != kNone) {
      at = nodes_[at].first_child;
      continue;
    }
    const NodeId parent = nodes_[at].parent;
    unlink(at);
    if (at == id) return;
    at = parent;
  }
}

void Tree::remove_lower(NodeId id) {
  if (nodes_[id].layer != layer_) {
    if (id != kRoot) return remove(id);
  }
  remove_lower_children(id);
}

void Tree::remove_lower_children(NodeId folder) {
  std::vector<NodeId> folders = {folder};
  while (!folders.empty()) {
    NodeId at = nodes_[folders.back()].first_child;
    folders.pop_back();
    while (at != kNone) {
      const NodeId next = nodes_[at].next;
      if (nodes_[at].layer == layer_) {
        folders.push_back(at);
      } else {
        remove(at);
      }
      at = next;
    }
  }
}

void Tree::unlink(NodeId id) {
  const Node& node = nodes_[id];
  CHECK(id != kRoot);
  table_.erase(hash_of(id), id, [this](NodeId other) { return hash_of(other); });
  if (node.previous != kNone) {
    nodes_[node.previous].next = node.next;
  } else {
    nodes_[node.parent].first_child = node.next;
  }
  if (node.next != kNone) nodes_[node.next].previous = node.previous;
  if (--inodes_[node.inode].links == 0) free_inodes_.push_back(node.inode);
  free_nodes_.push_back(id);
  last_folder_ = kNone;
}

void Tree::touch(NodeId id) {
  // Where one is touched already, those above it are too.
  while (nodes_[id].layer != layer_) {
    nodes_[id].layer = layer_;
    if (id == kRoot) return;
    id = nodes_[id].parent;
  }
}

}  // namespace lambdo::image
