#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "namespace/sandbox.h"

namespace lambdo::namespaces {

/// Bits for the controllers in use.
enum Controller : unsigned { kMemory = 1, kPids = 2, kCpu = 4, kCpuAccounting = 8 };

struct CgroupLimits {
  uint64_t memory_mb = 0;
  uint64_t processes = 0;
  uint32_t cpu_percent = 0;  ///< 0 is no limit
};

/// One mounted hierarchy: all of cgroup v2, or one of v1's.
struct CgroupHierarchy {
  unsigned controllers = 0;
  bool v2 = false;
  std::string mount_point;
  Fd top;     ///< both held open, so that they are reached from any mount namespace
  Fd folder;  ///< ours in it
};

class Cgroup;

/// Our folder in every hierarchy that has a controller we use. cgroup v2 is taken where it has the memory and
/// pids controllers, otherwise v1 (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/). Only the launcher
/// uses it; calls block for microseconds.
class CgroupTree {
 public:
  /// Opens or makes the folder `name` at the top of each hierarchy. What cannot be had is told in `warnings`;
  /// a machine without any usable hierarchy gives an empty tree.
  static Result<CgroupTree> open(const std::string& name, std::vector<std::string>& warnings);

  /// 1, 2, or 0 for none.
  [[nodiscard]] uint32_t version() const;
  /// Makes a group with these limits and nothing in it.
  Result<Cgroup> create(std::string name, const CgroupLimits& limits);
  /// Kills what still runs in groups of an instance that is gone and removes them. Only the holder of the
  /// lock on the name may call this. Code::timeout where processes do not die within `timeout_ms`.
  Result<> remove_leftovers(int timeout_ms);
  /// Removes our folders; there must be no group left.
  void remove();

 private:
  friend Cgroup;
  std::string name_;
  std::vector<CgroupHierarchy> hierarchies_;
};

/// The group of one sandbox, in every hierarchy. Belongs to a tree that outlives it. `remove` ends it;
/// forgetting one leaves it for remove_leftovers.
class Cgroup {
 public:
  Cgroup(CgroupTree& tree, std::string name, unsigned controllers)
      : tree_(&tree), name_(std::move(name)), controllers_(controllers) {}

  Result<> set_limits(const CgroupLimits& limits);
  [[nodiscard]] Usage usage() const;
  /// The files to write "0" to, in this order, for a process that joins: one per v1 hierarchy.
  Result<std::vector<Fd>> open_v1_task_files() const;
  /// For CLONE_INTO_CGROUP; invalid without v2.
  Result<Fd> open_v2_folder() const;
  /// Sends SIGKILL to all in it; gives how many processes it had.
  size_t kill_all() const;
  /// The processes in it. Zombies do not count.
  [[nodiscard]] std::vector<pid_t> processes() const;
  /// EBUSY while something is in it. Removing what is removed already is success.
  Result<> remove() const;

 private:
  friend CgroupTree;
  Result<> apply(const CgroupHierarchy& hierarchy, const CgroupLimits& limits) const;
  [[nodiscard]] bool uses(const CgroupHierarchy& hierarchy) const;
  [[nodiscard]] std::string file(std::string_view control) const;

  CgroupTree* tree_;
  std::string name_;
  unsigned controllers_;  ///< without one of these a hierarchy is left out
};

/// A line of /proc/self/mountinfo that mounts cgroups, for tests.
struct CgroupMount {
  std::string mount_point;
  bool v2 = false;
  std::vector<std::string> controllers;  ///< of v1
  bool operator==(const CgroupMount&) const = default;
};
std::vector<CgroupMount> parse_cgroup_mounts(std::string_view mountinfo);

}  // namespace lambdo::namespaces
