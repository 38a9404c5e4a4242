#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::agent {

/// The control group (v2) of the steps in a machine of its own. What the kernel has no controller for is not
/// limited: then the machine's own size is the limit.
class StepCgroup {
 public:
  /// Makes the group below `root`, where cgroup2 is mounted.
  static Result<StepCgroup> create(const std::string& root);

  /// 0: no limit.
  Result<> limit(uint64_t memory_bytes, uint64_t processes) const;

  /// "0" written to it moves the writing process into the group (cgroups(7)).
  [[nodiscard]] int processes_file() const { return processes_file_.get(); }

  /// How many processes of the group were killed for want of memory, its own or the machine's.
  [[nodiscard]] uint64_t oom_kills() const;

 private:
  StepCgroup(std::string path, Fd processes_file)
      : path_(std::move(path)), processes_file_(std::move(processes_file)) {}

  std::string path_;
  Fd processes_file_;
};

}  // namespace lambdo::agent
