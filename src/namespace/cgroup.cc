#include "namespace/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "base/syscalls.h"
#include "base/text.h"
#include "namespace/cgroup_files.h"

namespace lambdo::namespaces {

namespace {

constexpr struct {
  const char* name;
  Controller controller;
} kControllers[] = {{"memory", kMemory}, {"pids", kPids}, {"cpu", kCpu}, {"cpuacct", kCpuAccounting}};

unsigned controller_bits(const std::vector<std::string>& names) {
  unsigned bits = 0;
  for (const auto& [name, controller] : kControllers) {
    if (std::ranges::find(names, name) != names.end()) bits |= controller;
  }
  return bits;
}

std::vector<std::string> owned(const std::vector<std::string_view>& parts) {
  return {parts.begin(), parts.end()};
}

Result<Fd> open_folder(int parent, const std::string& path) {
  const int fd = ::openat(parent, path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return fail_errno("open cgroup " + path);
  return Fd(fd);
}

/// Makes and opens our folder at the top of a hierarchy.
Result<CgroupHierarchy> enter_hierarchy(const CgroupMount& mount, unsigned controllers,
                                        const std::string& name) {
  CgroupHierarchy hierarchy{.controllers = controllers, .v2 = mount.v2, .mount_point = mount.mount_point};
  hierarchy.top = TRY(open_folder(AT_FDCWD, mount.mount_point));
  if (::mkdirat(hierarchy.top.get(), name.c_str(), 0755) < 0 && errno != EEXIST) {
    return fail_errno("mkdir " + mount.mount_point + "/" + name);
  }
  hierarchy.folder = TRY(open_folder(hierarchy.top.get(), name));
  if (!mount.v2) return hierarchy;
  // A controller is there for the groups below a folder only where the folder passes it on.
  hierarchy.controllers = 0;
  for (const auto& [controller_name, controller] : kControllers) {
    if ((controllers & controller) == 0) continue;
    const std::string enable = std::string("+") + controller_name;
    if (controller == kCpuAccounting) continue;
    if (write_control(hierarchy.top.get(), "cgroup.subtree_control", enable) &&
        write_control(hierarchy.folder.get(), "cgroup.subtree_control", enable)) {
      hierarchy.controllers |= controller;
    }
  }
  hierarchy.controllers |= kCpuAccounting;  // cpu.stat is always there
  return hierarchy;
}

unsigned v2_controllers(const CgroupMount& mount) {
  const Result<std::string> names = sys::read_file(mount.mount_point + "/cgroup.controllers");
  return names ? controller_bits(owned(split_nonempty(trimmed(*names, "\n"), ' '))) : 0;
}

}  // namespace

std::vector<CgroupMount> parse_cgroup_mounts(std::string_view mountinfo) {
  std::vector<CgroupMount> mounts;
  for (const std::string_view line : split_nonempty(mountinfo, '\n')) {
    // proc_pid_mountinfo(5): the mount point is the fifth field; after " - " come the type, the source and
    // the super options, among which v1 names its controllers.
    const size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto before = split_nonempty(line.substr(0, dash), ' ');
    const auto after = split_nonempty(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    if (after[0] == "cgroup2") {
      mounts.push_back({.mount_point = std::string(before[4]), .v2 = true});
    } else if (after[0] == "cgroup") {
      mounts.push_back(
          {.mount_point = std::string(before[4]), .controllers = owned(split_nonempty(after[2], ','))});
    }
  }
  return mounts;
}

Result<CgroupTree> CgroupTree::open(const std::string& name, std::vector<std::string>& warnings) {
  CgroupTree tree;
  tree.name_ = name;
  const std::vector<CgroupMount> mounts = parse_cgroup_mounts(TRY(sys::read_file("/proc/self/mountinfo")));
  const auto v2 = std::ranges::find_if(mounts, [](const CgroupMount& mount) {
    return mount.v2 && (v2_controllers(mount) & (kMemory | kPids)) == (kMemory | kPids);
  });
  unsigned found = 0;
  for (const CgroupMount& mount : mounts) {
    if (v2 != mounts.end() ? &mount != &*v2 : mount.v2) continue;
    const unsigned controllers = mount.v2 ? v2_controllers(mount) : controller_bits(mount.controllers);
    if ((controllers & ~found) == 0) continue;
    Result<CgroupHierarchy> hierarchy = enter_hierarchy(mount, controllers, name);
    if (!hierarchy) {
      warnings.push_back("cgroup not usable: " + hierarchy.error().message);
      continue;
    }
    found |= hierarchy->controllers;
    tree.hierarchies_.push_back(std::move(*hierarchy));
  }
  if ((found & kMemory) == 0) {
    warnings.emplace_back("memory is not limited: no usable memory cgroup; run as root or delegate cgroups");
  }
  if ((found & kPids) == 0) {
    warnings.emplace_back(
        "processes are not limited: no usable pids cgroup; run as root or delegate cgroups");
  }
  return tree;
}

uint32_t CgroupTree::version() const {
  if (hierarchies_.empty()) return 0;
  return hierarchies_.front().v2 ? 2 : 1;
}

Result<Cgroup> CgroupTree::create(std::string name, const CgroupLimits& limits) {
  // Each hierarchy costs every launch some 40 us.
  const unsigned needed = kMemory | kPids | kCpuAccounting | (limits.cpu_percent != 0 ? kCpu : 0U);
  Cgroup group(*this, std::move(name), needed);
  for (const CgroupHierarchy& hierarchy : hierarchies_) {
    if (!group.uses(hierarchy)) continue;
    if (::mkdirat(hierarchy.folder.get(), group.name_.c_str(), 0755) == 0) continue;
    const int error = errno;
    // Only what was made just now: where the first one exists, it is somebody else's group.
    for (const CgroupHierarchy& made : hierarchies_) {
      if (&made == &hierarchy) break;
      if (group.uses(made)) ::unlinkat(made.folder.get(), group.name_.c_str(), AT_REMOVEDIR);
    }
    return fail_errno(error, "mkdir " + hierarchy.mount_point + "/" + name_ + "/" + group.name_);
  }
  if (Result<> applied = group.set_limits(limits); !applied) {
    static_cast<void>(group.remove());
    return std::unexpected(std::move(applied).error());
  }
  return group;
}

Result<> CgroupTree::remove_leftovers(int timeout_ms) {
  const long long deadline_ns = sys::monotonic_ns() + timeout_ms * 1'000'000LL;
  for (const CgroupHierarchy& hierarchy : hierarchies_) {
    for (const std::string& name :
         TRY(sys::list_directory("/proc/self/fd/" + std::to_string(hierarchy.folder.get())))) {
      struct stat status{};
      if (::fstatat(hierarchy.folder.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0) continue;
      if (!S_ISDIR(status.st_mode)) continue;
      const Cgroup group(*this, name, hierarchy.controllers);
      while (true) {
        group.kill_all();
        const Result<> removed = group.remove();
        if (removed) break;
        if (sys::monotonic_ns() > deadline_ns) {
          return fail(Code::timeout,
                      "left by an earlier instance and still alive: " + removed.error().message);
        }
        const timespec pause{.tv_nsec = 1'000'000};
        ::nanosleep(&pause, nullptr);
      }
    }
  }
  return {};
}

void CgroupTree::remove() {
  for (CgroupHierarchy& hierarchy : hierarchies_) {
    hierarchy.folder.reset();
    ::unlinkat(hierarchy.top.get(), name_.c_str(), AT_REMOVEDIR);
  }
  hierarchies_.clear();
}

bool Cgroup::uses(const CgroupHierarchy& hierarchy) const {
  return hierarchy.v2 || (hierarchy.controllers & controllers_) != 0;
}

std::string Cgroup::file(std::string_view control) const {
  return name_ + "/" + std::string(control);
}

/// The limits of v1's memory controller: that with swap is never below that without, so which goes first
/// depends on the direction. Without swap accounting there is no second one.
static Result<> write_v1_memory(int folder, const std::string& plain, const std::string& with_swap,
                                const std::string& bytes) {
  if (write_control(folder, plain, bytes)) {
    const Result<> limited = write_control(folder, with_swap, bytes);
    return limited || limited.error().code == Code::not_found ? Result<>() : limited;
  }
  static_cast<void>(write_control(folder, with_swap, bytes));
  return write_control(folder, plain, bytes);
}

Result<> Cgroup::apply(const CgroupHierarchy& hierarchy, const CgroupLimits& limits) const {
  const int folder = hierarchy.folder.get();
  constexpr uint64_t kPeriodUs = 100'000;
  const std::string quota = std::to_string(limits.cpu_percent * (kPeriodUs / 100));
  if ((hierarchy.controllers & kMemory) != 0) {
    const std::string bytes = std::to_string(limits.memory_mb << 20);
    if (hierarchy.v2) {
      TRY(write_control(folder, file("memory.max"), bytes));
      static_cast<void>(write_control(folder, file("memory.swap.max"), "0"));  // absent without swap
    } else {
      TRY(write_v1_memory(folder, file("memory.limit_in_bytes"), file("memory.memsw.limit_in_bytes"), bytes));
    }
  }
  if ((hierarchy.controllers & kPids) != 0) {
    TRY(write_control(folder, file("pids.max"), std::to_string(limits.processes)));
  }
  if ((hierarchy.controllers & kCpu) != 0 && limits.cpu_percent != 0) {
    TRY(hierarchy.v2 ? write_control(folder, file("cpu.max"), quota + " " + std::to_string(kPeriodUs))
                     : write_control(folder, file("cpu.cfs_quota_us"), quota));
  }
  return {};
}

Result<> Cgroup::set_limits(const CgroupLimits& limits) {
  for (const CgroupHierarchy& hierarchy : tree_->hierarchies_) {
    if (uses(hierarchy)) TRY(apply(hierarchy, limits));
  }
  return {};
}

Usage Cgroup::usage() const {
  Usage usage;
  for (const CgroupHierarchy& hierarchy : tree_->hierarchies_) {
    const int folder = hierarchy.folder.get();
    if (!uses(hierarchy)) continue;
    if ((hierarchy.controllers & kMemory) != 0) {
      const auto events = read_control(folder, file(hierarchy.v2 ? "memory.events" : "memory.oom_control"));
      if (events) usage.oom_kills = keyed_number(*events, "oom_kill").value_or(0);
      usage.memory_peak_bytes =
          read_number(folder, file(hierarchy.v2 ? "memory.peak" : "memory.max_usage_in_bytes"));
    }
    if ((hierarchy.controllers & kCpuAccounting) != 0) {
      if (!hierarchy.v2) {
        usage.cpu_us = read_number(folder, file("cpuacct.usage")) / 1000;
      } else if (const auto stat = read_control(folder, file("cpu.stat"))) {
        usage.cpu_us = keyed_number(*stat, "usage_usec").value_or(0);
      }
    }
  }
  return usage;
}

Result<std::vector<Fd>> Cgroup::open_v1_task_files() const {
  std::vector<Fd> files;
  for (const CgroupHierarchy& hierarchy : tree_->hierarchies_) {
    if (hierarchy.v2 || !uses(hierarchy)) continue;
    // `tasks`, not `cgroup.procs`: moving the writing thread alone takes no lock over all forks of the
    // machine.
    const std::string path = file("tasks");
    Fd fd(::openat(hierarchy.folder.get(), path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid()) return fail_errno("open " + path);
    files.push_back(std::move(fd));
  }
  return files;
}

Result<Fd> Cgroup::open_v2_folder() const {
  for (const CgroupHierarchy& hierarchy : tree_->hierarchies_) {
    if (hierarchy.v2) return open_folder(hierarchy.folder.get(), name_);
  }
  return Fd();
}

std::vector<pid_t> Cgroup::processes() const {
  std::vector<pid_t> pids;
  // Processes join the first hierarchy before all others, so it has all of them.
  const auto first =
      std::ranges::find_if(tree_->hierarchies_, [this](const auto& hierarchy) { return uses(hierarchy); });
  if (first == tree_->hierarchies_.end()) return pids;
  const Result<std::string> content = read_control(first->folder.get(), file("cgroup.procs"));
  if (!content) return pids;
  for (const std::string_view line : split_nonempty(*content, '\n')) {
    // 0 is a process of another pid namespace, 1 is never ours.
    const auto pid = static_cast<pid_t>(parse_uint(line).value_or(0));
    if (pid > 1 && pid != ::getpid()) pids.push_back(pid);
  }
  return pids;
}

size_t Cgroup::kill_all() const {
  const std::vector<pid_t> pids = processes();
  if (tree_->version() == 2 && !pids.empty() &&
      write_control(tree_->hierarchies_.front().folder.get(), file("cgroup.kill"), "1")) {
    return pids.size();
  }
  for (const pid_t pid : pids) ::kill(pid, SIGKILL);
  return pids.size();
}

Result<> Cgroup::remove() const {
  for (const CgroupHierarchy& hierarchy : tree_->hierarchies_) {
    if (!uses(hierarchy)) continue;
    if (::unlinkat(hierarchy.folder.get(), name_.c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT) {
      return fail_errno("rmdir " + hierarchy.mount_point + "/" + tree_->name_ + "/" + name_);
    }
  }
  return {};
}

}  // namespace lambdo::namespaces
