#include "image/writers/rootfs.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <ranges>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "image/layers/entry_path.h"
#include "image/layers/string_arena.h"

namespace lambdo::image {

namespace {

constexpr int kNewFile = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
// Only its owner enters a folder before all in it is done and it gets its own mode.
constexpr uint32_t kUnfinishedFolder = 0700;

class Writer {
 public:
  Writer(const Tree& tree, Spool& spool, int target, const std::atomic<bool>& stop)
      : tree_(&tree),
        spool_(&spool),
        target_(target),
        stop_(&stop),
        first_names_(tree.inode_bound(), Tree::kNone) {}

  Result<RootfsReport> write();

 private:
  Result<> check_empty() const;
  Result<Fd> open_folder(Tree::NodeId folder) const;
  Result<> fill(Tree::NodeId folder);
  Result<> make(int folder, Tree::NodeId id);
  Result<> make_first(int folder, const char* name, const Inode& inode);
  Result<> make_file(int folder, const char* name, const Inode& inode);
  Result<> make_node(int folder, const char* name, const Inode& inode);
  Result<> link(int folder, const char* name, Tree::NodeId first) const;
  Result<> finish(Tree::NodeId folder);

  const Tree* tree_;
  Spool* spool_;
  int target_;
  const std::atomic<bool>* stop_;
  MetadataSetter metadata_;
  /// Of each inode, the first name that was made.
  std::vector<Tree::NodeId> first_names_;
  /// Those above come before those below.
  std::vector<Tree::NodeId> folders_;
  RootfsReport report_;
};

Result<RootfsReport> Writer::write() {
  TRY(check_empty());
  folders_.push_back(Tree::kRoot);
  for (size_t i = 0; i < folders_.size(); ++i) TRY(fill(folders_[i]));
  // From below: once a folder has its owner and mode, this process may be unable to enter it.
  for (const Tree::NodeId folder : folders_ | std::views::reverse) TRY(finish(folder));
  report_.entries = tree_->size();
  report_.skipped_owners += metadata_.skipped_owners() + spool_->metadata().skipped_owners();
  report_.skipped_xattrs += metadata_.skipped_xattrs() + spool_->metadata().skipped_xattrs();
  return report_;
}

/// Names of the image's are never taken twice; others would become part of it.
Result<> Writer::check_empty() const {
  const auto names = TRY(sys::list_directory("/proc/self/fd/" + std::to_string(target_)));
  if (names.empty()) return {};
  return fail(Code::store_invalid, "the folder to unpack into has " + quoted(names.front()) +
                                       " in it already; remove that, and try again");
}

Result<Fd> Writer::open_folder(Tree::NodeId folder) const {
  const std::string path = folder == Tree::kRoot ? "." : tree_->path(folder);
  open_how how = {};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  while (true) {
    const long fd = ::syscall(SYS_openat2, target_, path.c_str(), &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    // EAGAIN: something on the machine was renamed while the path was walked (openat2(2)).
    if (errno != EINTR && errno != EAGAIN) return fail_errno("open of " + quoted(path));
  }
}

Result<> Writer::fill(Tree::NodeId folder) {
  if (tree_->node(folder).first_child == Tree::kNone) return {};
  const Fd fd = TRY(open_folder(folder));
  for (const Tree::NodeId id : tree_->children(folder)) {
    if (*stop_) return fail(Code::cancelled, "stopped");
    if (auto made = make(fd.get(), id); !made) {
      return std::unexpected(std::move(made).error().with_context(quoted(tree_->path(id))));
    }
  }
  return {};
}

Result<> Writer::make(int folder, Tree::NodeId id) {
  const Tree::Node& node = tree_->node(id);
  const Inode& inode = tree_->inode(node.inode);
  const char* name = StringArena::c_str(node.name);
  if (inode.is_folder()) {
    if (::mkdirat(folder, name, kUnfinishedFolder) != 0) return fail_errno("mkdir");
    folders_.push_back(id);
    return {};
  }
  Tree::NodeId& first = first_names_[node.inode];
  if (first != Tree::kNone) return link(folder, name, first);
  first = id;
  return make_first(folder, name, inode);
}

Result<> Writer::make_first(int folder, const char* name, const Inode& inode) {
  if (inode.is_file()) return make_file(folder, name, inode);
  // They cannot have attributes of users, nor capabilities.
  report_.skipped_xattrs += tree_->xattrs(inode).size();
  if (!inode.is_symlink()) return make_node(folder, name, inode);
  if (::symlinkat(StringArena::c_str(inode.target), folder, name) != 0) return fail_errno("symlink");
  return metadata_.set_at(folder, name, inode.metadata(), true);
}

Result<> Writer::make_file(int folder, const char* name, const Inode& inode) {
  if (inode.content.exists()) {
    return spool_->move(inode.content, folder, name, inode.metadata(), tree_->xattrs(inode));
  }
  const uint32_t created_mode = MetadataSetter::creation_mode(inode.mode);
  const Fd fd(::openat(folder, name, kNewFile, created_mode));
  if (!fd.valid()) return fail_errno("new file");
  return metadata_.set(fd.get(), inode.metadata(), tree_->xattrs(inode), created_mode);
}

Result<> Writer::make_node(int folder, const char* name, const Inode& inode) {
  if (::mknodat(folder, name, inode.mode, ::makedev(inode.major, inode.minor)) == 0) {
    return metadata_.set_at(folder, name, inode.metadata(), false);
  }
  if (errno != EPERM || !inode.is_device()) return fail_errno("mknod");
  ++report_.skipped_devices;
  return {};
}

Result<> Writer::link(int folder, const char* name, Tree::NodeId first) const {
  const Tree::Node& node = tree_->node(first);
  const Fd from = TRY(open_folder(node.parent));
  if (::linkat(from.get(), StringArena::c_str(node.name), folder, name, 0) == 0) return {};
  // A device that could not be made has no other names, too.
  if (errno == ENOENT && tree_->inode(node.inode).is_device()) return {};
  return fail_errno("link");
}

Result<> Writer::finish(Tree::NodeId folder) {
  const Inode& inode = tree_->inode_of(folder);
  const Fd fd = TRY(open_folder(folder));
  auto set = metadata_.set(fd.get(), inode.metadata(), tree_->xattrs(inode), kUnfinishedFolder);
  if (set) return {};
  return std::unexpected(std::move(set).error().with_context(quoted(tree_->path(folder))));
}

}  // namespace

Result<RootfsReport> write_rootfs(const Tree& tree, Spool& spool, int target, const std::atomic<bool>& stop) {
  return Writer(tree, spool, target, stop).write();
}

}  // namespace lambdo::image
