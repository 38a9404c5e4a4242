#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/syscalls.h"
#include "image/layers/decompressor.h"
#include "image/layers/entry_path.h"
#include "image/layers/tree.h"

namespace lambdo::image {

std::vector<Tree::NodeId> Tree::children(NodeId folder) const {
  std::vector<NodeId> result;
  for (NodeId at = nodes_[folder].first_child; at != kNone; at = nodes_[at].next) result.push_back(at);
  std::ranges::sort(result, {}, [this](NodeId id) { return nodes_[id].name; });
  return result;
}

std::string Tree::path(NodeId id) const {
  size_t len_bytes = 0;
  for (NodeId at = id; at != kRoot; at = nodes_[at].parent) len_bytes += nodes_[at].name.size() + 1;
  if (len_bytes == 0) return {};
  std::string result(len_bytes - 1, '/');
  size_t end = result.size();
  for (NodeId at = id; at != kRoot; at = nodes_[at].parent) {
    const std::string_view name = nodes_[at].name;
    end -= name.size();
    std::ranges::copy(name, &result[end]);
    if (end != 0) --end;
  }
  return result;
}

Tree::NodeId Tree::find(std::string_view path, LastPart last) const {
  return look_up(path, last).node;
}

Result<std::string> Tree::read(const Spool& spool, NodeId file, size_t max_bytes) const {
  const Inode& inode = inode_of(file);
  if (!inode.is_file()) return fail(Code::invalid_argument, quoted(path(file)) + " is no regular file");
  if (inode.size_bytes > max_bytes) {
    return fail(Code::payload_too_large,
                quoted(path(file)) + " is larger than " + std::to_string(max_bytes) + " bytes");
  }
  std::string content(inode.size_bytes, '\0');
  if (!inode.content.exists()) return content;
  const Fd fd = TRY(spool.open(inode.content));
  auto read = read_blob_from(fd.get());
  size_t done = 0;
  while (done < content.size()) {
    const size_t count = TRY(read(std::as_writable_bytes(std::span(content)).subspan(done)));
    if (count == 0) return fail(Code::internal, "a content in the spool is too short");
    done += count;
  }
  return content;
}

uint64_t Tree::content_bytes() const {
  uint64_t sum = 0;
  for (const Inode& inode : inodes_) {
    if (inode.links != 0 && inode.is_file()) sum += inode.size_bytes;
  }
  return sum;
}

}  // namespace lambdo::image
