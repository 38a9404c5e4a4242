#include "namespace/image_mounts.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/syscalls.h"

namespace lambdo::namespaces {

namespace {

// Where the new root is put together before it becomes the root; every machine has this folder.
const std::string kScratch = "/tmp";

Result<> call(int result, const std::string& what) {
  if (result < 0) return fail_errno(what);
  return {};
}

/// A detached copy of the one mount at `path`.
Result<Fd> copy_mount(const std::string& path) {
  const int fd = ::open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (fd < 0) return fail_errno("open_tree " + path);
  return Fd(fd);
}

Result<> set_attributes(const Fd& tree, uint64_t attributes) {
  struct mount_attr change{};
  change.attr_set = attributes;
  return call(::mount_setattr(tree.get(), "", AT_EMPTY_PATH, &change, sizeof change), "mount_setattr");
}

Result<> attach(const Fd& tree, const std::string& path) {
  return call(::move_mount(tree.get(), "", AT_FDCWD, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH),
              "move_mount to " + path);
}

Result<> attach(const Fd& tree, const Fd& target) {
  return call(
      ::move_mount(tree.get(), "", target.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
      "move_mount");
}

/// `path` below `folder` without following any symbolic link.
Result<Fd> find_below(const Fd& folder, const std::string& path, mode_t type) {
  struct open_how how{};
  how.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  Fd fd(static_cast<int>(::syscall(SYS_openat2, folder.get(), path.c_str(), &how, sizeof how)));
  if (!fd.valid()) return fail_errno("open " + path);
  struct stat status{};
  if (::fstat(fd.get(), &status) < 0) return fail_errno("stat " + path);
  if ((status.st_mode & S_IFMT) != type) return fail(Code::invalid_argument, path + " has the wrong type");
  return fd;
}

// The name is what bubblewrap is told: see BwrapCommand.
constexpr std::string_view kHosts = "127.0.0.1\tlocalhost lambdo\n::1\tlocalhost\n";

struct MountPoint {
  const char* path;
  mode_t type;
};
constexpr MountPoint kMountPoints[] = {{"proc", S_IFDIR},
                                       {"dev", S_IFDIR},
                                       {"tmp", S_IFDIR},
                                       {"workspace", S_IFDIR},
                                       {".lambdo/agent", S_IFREG}};

bool has_mount_points(const Fd& image) {
  for (const auto& [path, type] : kMountPoints) {
    if (!find_below(image, path, type)) return false;
  }
  return true;
}

Result<> make_file(const std::string& path, std::string_view content, mode_t mode) {
  const Fd fd = TRY(sys::open(path, O_WRONLY | O_CREAT | O_EXCL, mode));
  return sys::write_all(fd.get(), content);
}

/// /usr and what of /bin, /lib and so on is no symbolic link into it.
Result<> add_system_folders() {
  for (const std::string name : {"/usr", "/bin", "/lib", "/lib32", "/lib64"}) {
    struct stat status{};
    if (::lstat(name.c_str(), &status) < 0) continue;
    const std::string target = kScratch + name;
    if (S_ISLNK(status.st_mode)) {
      char link[256] = {};
      if (::readlink(name.c_str(), link, sizeof link - 1) < 0) return fail_errno("readlink " + name);
      TRY(call(::symlink(link, target.c_str()), "symlink " + target));
      continue;
    }
    const Fd tree = TRY(copy_mount(name));
    TRY(set_attributes(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
    TRY(sys::mkdir(target, 0755));
    TRY(attach(tree, target));
  }
  return {};
}

/// Lets the process act as root over new namespaces, with its own uid and gid kept.
Result<> enter_user_namespace() {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (::unshare(CLONE_NEWUSER) < 0) {
    const int error = errno;
    return fail(Code::unavailable, "unprivileged user namespaces are not allowed (" +
                                       std::string(strerror(error)) +
                                       "): run as root, or set the sysctl kernel.unprivileged_userns_clone=1 "
                                       "or user.max_user_namespaces");
  }
  const auto map = [](unsigned id) { return std::to_string(id) + " " + std::to_string(id) + " 1"; };
  TRY(sys::write_file("/proc/self/setgroups", "deny"));
  TRY(sys::write_file("/proc/self/uid_map", map(uid)));
  return sys::write_file("/proc/self/gid_map", map(gid));
}

}  // namespace

Result<ImageMounts> ImageMounts::enter(const std::string& bwrap_path) {
  if (::access(bwrap_path.c_str(), X_OK) < 0) {
    return fail(Code::unavailable, "bubblewrap is missing at " + bwrap_path + ": apt install bubblewrap");
  }
  if (!bwrap_path.starts_with("/usr/") && !bwrap_path.starts_with("/bin/")) {
    return fail(Code::invalid_argument, "bubblewrap must lie below /usr, not at " + bwrap_path);
  }
  ImageMounts mounts;
  mounts.outside_ = TRY(sys::open("/proc/self/ns/mnt", O_RDONLY));
  mounts.privileged_ = ::unshare(CLONE_NEWNS) == 0;
  if (!mounts.privileged_) {
    TRY(enter_user_namespace());
    TRY(call(::unshare(CLONE_NEWNS), "unshare mount namespace"));
    // Only a namespace of our own can be entered again: a copy that follows the host's mounts.
    TRY(call(::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr), "mount --make-rslave /"));
    mounts.outside_ = TRY(sys::open("/proc/self/ns/mnt", O_RDONLY));
    TRY(call(::unshare(CLONE_NEWNS), "unshare mount namespace"));
  }
  TRY(call(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount --make-rprivate /"));
  TRY(mounts.populate(bwrap_path));
  mounts.inside_ = TRY(sys::open("/proc/self/ns/mnt", O_RDONLY));
  return mounts;
}

Result<> ImageMounts::populate(const std::string& bwrap_path) {
  TRY(call(::mount("lambdo", kScratch.c_str(), "tmpfs", MS_NOSUID, "size=1m,mode=0755"),
           "mount the launcher's root"));
  TRY(add_system_folders());
  for (const std::string name :
       {"/proc", "/dev", "/tmp", "/etc", "/images", "/lower", "/skeleton", "/skeleton/.lambdo"}) {
    TRY(sys::mkdir(kScratch + name, 0755));
  }
  for (const auto& [path, type] : kMountPoints) {
    const std::string target = kScratch + "/skeleton/" + path;
    TRY(type == S_IFDIR ? sys::mkdir(target, 0755) : make_file(target, "", 0755));
  }
  // Saves bubblewrap's loader a search; without it the default folders do.
  if (const Result<std::string> cache = sys::read_file("/etc/ld.so.cache", 512 << 10)) {
    TRY(make_file(kScratch + "/etc/ld.so.cache", *cache, 0644));
  }
  const std::string proc = kScratch + "/proc";
  if (::mount("proc", proc.c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0) {
    // A user namespace may show this pid namespace's processes only as they were shown to it.
    TRY(call(::mount("/proc", proc.c_str(), nullptr, MS_BIND | MS_REC, nullptr), "mount /proc"));
  }
  TRY(call(::mount("dev", (kScratch + "/dev").c_str(), "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=0755"),
           "mount /dev"));
  TRY(add_devices());

  TRY(call(::chdir(kScratch.c_str()), "chdir to the launcher's root"));
  TRY(call(static_cast<int>(::syscall(SYS_pivot_root, ".", ".")), "pivot_root"));
  TRY(call(::umount2(".", MNT_DETACH), "unmount the machine's root"));
  TRY(call(::chdir("/"), "chdir /"));
  return call(::access(bwrap_path.c_str(), X_OK), "reach " + bwrap_path + " from the launcher's root");
}

Result<> ImageMounts::add_device(const std::string& name, unsigned minor) {
  const std::string host = "/dev/" + name;
  const std::string target = kScratch + host;
  const unsigned major = name == "tty" ? 5 : 1;
  if (::mknod(target.c_str(), S_IFCHR | 0666, ::makedev(major, minor)) == 0) {
    // A container's policy may let nodes be made and not be opened.
    const int fd = name == "tty" ? -1 : ::open(target.c_str(), O_RDONLY | O_CLOEXEC);
    if (name == "tty" || fd >= 0) {
      ::close(fd);
      return {};
    }
    ::unlink(target.c_str());
  }
  TRY(make_file(target, "", 0666));
  const Fd node = TRY(copy_mount(host));
  return attach(node, target);
}

Result<> ImageMounts::add_devices() {
  constexpr struct {
    const char* name;
    unsigned minor;
  } kDevices[] = {{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}, {"tty", 0}};
  constexpr struct {
    const char* name;
    const char* target;
  } kLinks[] = {{"fd", "/proc/self/fd"},
                {"stdin", "/proc/self/fd/0"},
                {"stdout", "/proc/self/fd/1"},
                {"stderr", "/proc/self/fd/2"}};
  const mode_t old_mask = ::umask(0);
  for (const auto& [name, minor] : kDevices) TRY(add_device(name, minor));
  ::umask(old_mask);
  for (const auto& [name, target] : kLinks) {
    TRY(call(::symlink(target, (kScratch + "/dev/" + name).c_str()), std::string("symlink /dev/") + name));
  }
  return sys::mkdir(kScratch + "/dev/shm", 0755);
}

Result<std::string> ImageMounts::network_folder_for(const std::string& resolver_file) {
  const auto found = network_folders_.find(resolver_file);
  if (found != network_folders_.end()) return found->second;
  std::string folder = "/network" + std::to_string(network_folders_.size());
  TRY(sys::mkdir(folder, 0755));
  TRY(sys::mkdir(folder + "/etc", 0755));
  TRY(make_file(folder + "/etc/resolv.conf", resolver_file, 0644));
  TRY(make_file(folder + "/etc/hosts", kHosts, 0644));
  network_folders_.emplace(resolver_file, folder);
  return folder;
}

Result<std::string> ImageMounts::add_image(const std::string& rootfs, const std::string& agent_path,
                                           const std::optional<std::string>& resolver_file) {
  std::string network_folder;
  if (resolver_file) network_folder = TRY(network_folder_for(*resolver_file));
  TRY(call(::setns(outside_.get(), CLONE_NEWNS), "setns to the machine's mount namespace"));
  Result<Fd> tree = copy_mount(rootfs);
  Result<Fd> agent = copy_mount(agent_path);
  TRY(call(::setns(inside_.get(), CLONE_NEWNS), "setns to the launcher's mount namespace"));
  if (!tree) return std::unexpected(std::move(tree).error().with_context("rootfs " + rootfs));
  if (!agent) return std::unexpected(std::move(agent).error().with_context("agent " + agent_path));
  struct stat status{};
  if (::fstat(tree->get(), &status) < 0 || !S_ISDIR(status.st_mode)) {
    return fail(Code::invalid_argument, "rootfs " + rootfs + " is not a folder");
  }
  if (::fstat(agent->get(), &status) < 0 || !S_ISREG(status.st_mode) || (status.st_mode & S_IXOTH) == 0) {
    return fail(Code::invalid_argument,
                "agent " + agent_path + " is not a program that everybody may execute");
  }
  std::string path = "/images/" + std::to_string(images_);
  if (Result<> attached = attach_image(path, std::move(*tree), std::move(*agent), network_folder);
      !attached) {
    ::umount2(path.c_str(), MNT_DETACH);
    ::umount2(lower_path().c_str(), MNT_DETACH);
    return std::unexpected(std::move(attached).error().with_context("rootfs " + rootfs));
  }
  ++images_;
  return path;
}

std::string ImageMounts::lower_path() const {
  return "/lower/" + std::to_string(images_);
}

Result<> ImageMounts::attach_image(const std::string& path, Fd tree, Fd agent,
                                   const std::string& network_folder) {
  constexpr uint64_t kImageAttributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (::mkdir(path.c_str(), 0755) < 0 && errno != EEXIST) return fail_errno("mkdir " + path);
  TRY(set_attributes(tree, kImageAttributes));
  if (network_folder.empty() && has_mount_points(tree)) {
    TRY(attach(tree, path));
  } else {
    // An image made by others, or one that wants more in its /etc: our folders are laid over it.
    const std::string lower = lower_path();
    if (::mkdir(lower.c_str(), 0755) < 0 && errno != EEXIST) return fail_errno("mkdir " + lower);
    TRY(attach(tree, lower));
    TRY(call(
        ::mount("image", path.c_str(), "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV,
                ("lowerdir=" + (network_folder.empty() ? "" : network_folder + ":") + "/skeleton:" + lower)
                    .c_str()),
        "mount overlay"));
  }
  const Fd image = TRY(sys::open(path, O_PATH | O_DIRECTORY));
  const int devices = ::open_tree(AT_FDCWD, "/dev", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (devices < 0) return fail_errno("open_tree /dev");
  const Fd device_tree(devices);
  TRY(set_attributes(device_tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
  const Fd device_target = TRY(find_below(image, "dev", S_IFDIR));
  TRY(attach(device_tree, device_target));
  TRY(set_attributes(agent, kImageAttributes));
  const Fd agent_target = TRY(find_below(image, ".lambdo/agent", S_IFREG));
  return attach(agent, agent_target);
}

}  // namespace lambdo::namespaces
