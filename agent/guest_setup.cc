#include "agent/guest_setup.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "agent/spawn.h"
#include "base/syscalls.h"

namespace lambdo::agent {

std::vector<MountPoint> guest_mounts(const std::string& workspace, uint64_t disk_mb, StepUser owner) {
  constexpr unsigned long kNothing = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  constexpr unsigned long kScratch = MS_NOSUID | MS_NODEV;
  const std::string size = ",size=" + std::to_string(disk_mb) + "m";
  return {{"proc", "/proc", kNothing, ""},
          {"sysfs", "/sys", kNothing, ""},
          {"devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755"},
          {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666"},
          {"tmpfs", "/dev/shm", kScratch, "mode=1777" + size},
          {"tmpfs", "/run", kScratch, "mode=0755" + size},
          {"tmpfs", "/tmp", kScratch, "mode=1777" + size},
          {"tmpfs", workspace, kScratch,
           "mode=0755,uid=" + std::to_string(owner.uid) + ",gid=" + std::to_string(owner.gid) + size},
          {"cgroup2", "/sys/fs/cgroup", kNothing, ""}};
}

Result<> mount_all(const std::vector<MountPoint>& mounts) {
  for (const MountPoint& point : mounts) {
    // In /proc, /sys and the like a folder cannot be made but is there.
    if (!sys::exists(point.target)) TRY(sys::mkdirs(point.target, 0755));
    if (::mount(point.type, point.target.c_str(), point.type, point.flags, point.data.c_str()) < 0) {
      return fail_errno(std::string("mount ") + point.type + " on " + point.target);
    }
  }
  // devtmpfs has the devices only.
  const std::pair<const char*, const char*> links[] = {{"/proc/self/fd", "/dev/fd"},
                                                       {"/proc/self/fd/0", "/dev/stdin"},
                                                       {"/proc/self/fd/1", "/dev/stdout"},
                                                       {"/proc/self/fd/2", "/dev/stderr"}};
  for (const auto& [target, name] : links) {
    if (::symlink(target, name) < 0 && errno != EEXIST) return fail_errno(std::string("symlink ") + name);
  }
  return {};
}

Result<> make_root_read_only() {
  if (::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) < 0) {
    return fail_errno("mount / read-only");
  }
  return {};
}

Result<> check_complete(const std::string& folder) {
  if (sys::exists(folder + "/complete")) return {};
  return fail(Code::invalid_argument,
              "the image's archive is damaged: the kernel could not unpack all of it, see its messages");
}

static Result<> load_module(const std::string& path) {
  const Fd file = TRY(sys::open(path, O_RDONLY));
  if (::syscall(SYS_finit_module, file.get(), "", 0) < 0 && errno != EEXIST) return fail_errno(path);
  return {};
}

Result<> load_modules(const std::string& folder) {
  const std::string list = TRY(sys::read_file(folder + "/modules.list"));
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find('\n', begin), list.size());
    const std::string name = list.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty()) continue;
    Result<> loaded = load_module(folder + "/modules/" + name + ".ko");
    if (!loaded) return std::unexpected(std::move(loaded).error().with_context("kernel module " + name));
  }
  return {};
}

Result<> name_machine(const std::string& hostname) {
  if (::sethostname(hostname.data(), hostname.size()) < 0) return fail_errno("sethostname");
  return {};
}

Result<> set_environment(const std::vector<std::string>& variables) {
  ::clearenv();
  for (const std::string& variable : variables) {
    const size_t equals = variable.find('=');
    if (::setenv(variable.substr(0, equals).c_str(), variable.c_str() + equals + 1, 1) < 0) {
      return fail_errno("setenv");
    }
  }
  return {};
}

static void note(Result<>& first, int os_errno, const std::string& what) {
  if (first && os_errno != 0) first = fail_errno(os_errno, what);
}

Result<> remove_folder(const std::string& folder) {
  Result<> first;
  const auto names = TRY(sys::list_directory(folder));
  for (const std::string& name : names) {
    const std::string path = folder + '/' + name;
    if (::unlink(path.c_str()) == 0) continue;
    if (errno != EISDIR) {
      note(first, errno, "unlink " + path);
      continue;
    }
    Result<> removed = remove_folder(path);
    if (!removed && first) first = std::move(removed);
  }
  if (::rmdir(folder.c_str()) < 0) note(first, errno, "rmdir " + folder);
  return first;
}

}  // namespace lambdo::agent
