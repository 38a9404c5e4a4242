#include "image/writers/initramfs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <set>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "image/layers/entry_path.h"
#include "image/writers/newc_writer.h"

namespace lambdo::image {

namespace {

constexpr size_t kPieceBytes = 256 << 10;

uint32_t newc_time(int64_t seconds) {
  constexpr int64_t kLast = std::numeric_limits<uint32_t>::max();
  return static_cast<uint32_t>(std::clamp<int64_t>(seconds, 0, kLast));
}

class Writer {
 public:
  Writer(const Tree& tree, const Spool& spool, const InitramfsOptions& options, ArchiveSink& sink,
         const std::atomic<bool>& stop)
      : tree_(&tree),
        spool_(&spool),
        options_(&options),
        newc_(sink),
        stop_(&stop),
        names_left_(tree.inode_bound()),
        names_(tree.inode_bound()),
        numbers_(tree.inode_bound()),
        piece_(kPieceBytes) {}

  Result<InitramfsReport> write();

 private:
  Result<> check_extras();
  Result<> put_extra(const ExtraFile& extra);
  template <typename Visit>
  Result<> walk(Visit visit);
  void count(Tree::NodeId id);
  Result<> put(Tree::NodeId id, std::string_view path);
  Result<> put_file(NewcWriter::Header header, const Inode& inode);
  Result<> copy(int fd, uint64_t size_bytes);

  const Tree* tree_;
  const Spool* spool_;
  const InitramfsOptions* options_;
  NewcWriter newc_;
  const std::atomic<bool>* stop_;
  std::set<std::string_view> extra_names_;
  std::vector<uint32_t> names_left_;  ///< of each inode, names that are still to come
  std::vector<uint32_t> names_;       ///< of each inode, names in the archive
  std::vector<uint32_t> numbers_;     ///< of each inode in the archive; 0: it has none yet
  uint32_t next_number_ = 1;
  std::vector<std::byte> piece_;
  InitramfsReport report_;
};

Result<InitramfsReport> Writer::write() {
  TRY(check_extras());
  TRY(walk([this](Tree::NodeId id, std::string_view) -> Result<> {
    count(id);
    return {};
  }));
  names_left_ = names_;
  for (const ExtraFile& extra : options_->first) TRY(put_extra(extra));
  TRY(walk([this](Tree::NodeId id, std::string_view path) { return put(id, path); }));
  for (const ExtraFile& extra : options_->last) TRY(put_extra(extra));
  TRY(newc_.finish());
  report_.entries = newc_.entries();
  report_.archive_bytes = newc_.size_bytes();
  return report_;
}

Result<> Writer::check_extras() {
  for (const auto* list : {&options_->first, &options_->last}) {
    for (const ExtraFile& extra : *list) {
      const std::string_view name = extra.name;
      if (name.empty() || name == "." || name == ".." || name.contains('/') || name.contains('\0') ||
          !extra_names_.insert(name).second) {
        return fail(Code::invalid_argument, quoted(name) + " cannot be the name of a file to add");
      }
    }
  }
  return {};
}

/// Calls `visit` with each node that belongs into the archive and its path: a folder before what is in it,
/// what is in it sorted by name. The root is none: the kernel has one.
template <typename Visit>
Result<> Writer::walk(Visit visit) {
  struct Open {
    std::vector<Tree::NodeId> children;
    size_t next = 0;
    size_t path_bytes = 0;  ///< of the folder's path
  };
  std::string path;
  std::vector<Open> open;
  open.push_back({.children = tree_->children(Tree::kRoot)});
  while (!open.empty()) {
    if (*stop_) return fail(Code::cancelled, "stopped");
    Open& folder = open.back();
    path.resize(folder.path_bytes);
    if (folder.next == folder.children.size()) {
      open.pop_back();
      continue;
    }
    const Tree::NodeId id = folder.children[folder.next++];
    const std::string_view name = tree_->node(id).name;
    if (open.size() == 1 && extra_names_.contains(name)) continue;
    if (!path.empty()) path += '/';
    path += name;
    if (auto visited = visit(id, path); !visited) {
      return std::unexpected(std::move(visited).error().with_context(quoted(path)));
    }
    if (tree_->inode_of(id).is_folder()) {
      open.push_back({.children = tree_->children(id), .path_bytes = path.size()});
    }
  }
  return {};
}

void Writer::count(Tree::NodeId id) {
  // The kernel makes each symlink anew (init/initramfs.c, do_symlink): they are never links of one another.
  const Tree::InodeId inode = tree_->node(id).inode;
  names_[inode] = tree_->inode(inode).is_symlink() ? 1 : names_[inode] + 1;
}

Result<> Writer::put(Tree::NodeId id, std::string_view path) {
  const Tree::InodeId inode_id = tree_->node(id).inode;
  const Inode& inode = tree_->inode(inode_id);
  if (path.size() > NewcWriter::kMaxNameBytes) return fail(Code::image_too_large, "too long a path");
  if (numbers_[inode_id] == 0 || inode.is_symlink()) {
    numbers_[inode_id] = next_number_++;
    report_.skipped_xattrs += tree_->xattrs(inode).size();
  }
  NewcWriter::Header header = {
      .path = path,
      .inode = numbers_[inode_id],
      .mode = inode.mode,
      .uid = inode.uid,
      .gid = inode.gid,
      .links = inode.is_folder() ? 2 : names_[inode_id],
      .mtime = options_->keeps_mtime ? newc_time(inode.mtime_s) : 0,
      .major = inode.major,
      .minor = inode.minor,
  };
  if (inode.is_file()) {
    // cpio(1) and the kernel both want the content with the last of several names; so does every writer.
    const bool is_last = --names_left_[inode_id] == 0;
    if (is_last) return put_file(header, inode);
    return newc_.put_header(header);
  }
  if (!inode.is_symlink()) return newc_.put_header(header);
  if (inode.target.size() > NewcWriter::kMaxNameBytes)
    return fail(Code::image_too_large, "too long a target");
  header.size_bytes = static_cast<uint32_t>(inode.target.size());
  TRY(newc_.put_header(header));
  TRY(newc_.put_content(std::as_bytes(std::span(inode.target))));
  return newc_.end_content();
}

Result<> Writer::put_file(NewcWriter::Header header, const Inode& inode) {
  if (inode.size_bytes > NewcWriter::kMaxFileBytes) {
    return fail(Code::image_too_large, "a file of 4 GiB or more has no place in an initramfs");
  }
  header.size_bytes = static_cast<uint32_t>(inode.size_bytes);
  TRY(newc_.put_header(header));
  if (!inode.content.exists()) return {};
  const Fd fd = TRY(spool_->open(inode.content));
  return copy(fd.get(), inode.size_bytes);
}

Result<> Writer::put_extra(const ExtraFile& extra) {
  const struct stat status = TRY(sys::fstat(extra.fd));
  if (!S_ISREG(status.st_mode)) {
    return fail(Code::invalid_argument, "what is to be " + quoted(extra.name) + " is no regular file");
  }
  const auto size_bytes = static_cast<uint64_t>(status.st_size);
  if (size_bytes > NewcWriter::kMaxFileBytes) {
    return fail(Code::image_too_large, quoted(extra.name) + ": a file of 4 GiB or more");
  }
  TRY(newc_.put_header({.path = extra.name,
                        .inode = next_number_++,
                        .mode = S_IFREG | (extra.mode & 07777U),
                        .size_bytes = static_cast<uint32_t>(size_bytes)}));
  auto copied = copy(extra.fd, size_bytes);
  if (copied) return {};
  return std::unexpected(std::move(copied).error().with_context(quoted(extra.name)));
}

Result<> Writer::copy(int fd, uint64_t size_bytes) {
  uint64_t done = 0;
  while (done < size_bytes) {
    if (*stop_) return fail(Code::cancelled, "stopped");
    const size_t wanted = std::min<uint64_t>(piece_.size(), size_bytes - done);
    const ssize_t count = ::pread(fd, piece_.data(), wanted, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("read");
    if (count == 0) return fail(Code::io, "it became shorter while it was read");
    TRY(newc_.put_content(std::span(piece_).first(static_cast<size_t>(count))));
    done += static_cast<uint64_t>(count);
  }
  return newc_.end_content();
}

}  // namespace

Result<InitramfsReport> write_initramfs(const Tree& tree, const Spool& spool, const InitramfsOptions& options,
                                        int fd, const std::atomic<bool>& stop) {
  const auto sink = TRY(ArchiveSink::create(options.compression, fd));
  InitramfsReport report = TRY(Writer(tree, spool, options, *sink, stop).write());
  report.written_bytes = sink->written_bytes();
  return report;
}

}  // namespace lambdo::image
