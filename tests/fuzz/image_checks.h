#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/syscalls.h"
#include "image/layers/layer.h"
#include "image/layers/spool.h"
#include "image/layers/tree.h"
#include "image/store/temporary.h"
#include "registry/manifest.h"

/// What the targets for images have in common.
namespace lambdo::image::testing {

inline const std::atomic<bool> kNeverStops = false;
constexpr LayerLimits kLimits = {
    .unpacked_bytes = 4 << 20, .file_bytes = 1 << 20, .xattrs = 4, .xattr_bytes = 1000};

/// A folder in memory for one input, with a spool.
struct Place {
  Place() : folder(TemporaryFolder::create("/dev/shm/lambdo-fuzz-" + std::to_string(::getpid())).value()) {
    spool = Spool::create(folder.path() + "/spool").value();
  }
  TemporaryFolder folder;
  std::unique_ptr<Spool> spool;
};

inline Result<Layer> read(std::string_view blob, size_t piece_bytes, std::string_view media_type,
                          Spool& spool) {
  auto give = [blob, piece_bytes](std::span<std::byte> to) mutable -> Result<size_t> {
    const size_t count = std::min({blob.size(), to.size(), piece_bytes});
    if (count != 0) std::memcpy(to.data(), blob.data(), count);
    blob.remove_prefix(count);
    return count;
  };
  MetadataBudget budget({.entries = 500, .bytes = 1 << 20});
  return read_layer({.read = give, .media_type = std::string(media_type), .diff_id = {}}, spool, kLimits,
                    kNeverStops, &budget);
}

/// That the tree is one: each name once, found where it says it is, with as many links as names.
inline void check_tree(const Tree& tree) {
  std::vector<uint32_t> names(tree.inode_bound());
  std::vector<Tree::NodeId> open = {Tree::kRoot};
  size_t count = 0;
  while (!open.empty()) {
    const Tree::NodeId id = open.back();
    open.pop_back();
    ++count;
    ++names[tree.node(id).inode];
    const std::string path = tree.path(id);
    CHECK(path.size() <= 4095);
    CHECK(tree.find(path, Tree::LastPart::is_taken_as_it_is) == id);
    std::string_view previous;
    for (const Tree::NodeId child : tree.children(id)) {
      CHECK(tree.inode_of(id).is_folder());
      const std::string_view name = tree.node(child).name;
      CHECK(tree.node(child).parent == id && name > previous && name != "." && name != "..");
      CHECK(name.size() <= 255 && !name.contains('/') && !name.starts_with(".wh."));
      previous = name;
      open.push_back(child);
    }
  }
  CHECK(count == tree.size());
  for (Tree::InodeId id = 0; id < names.size(); ++id) CHECK(names[id] == tree.inode(id).links);
}

}  // namespace lambdo::image::testing
