#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "doctor/finding.h"
#include "kvm/probe.h"

/// The doctor's looks at kernel, devices and resources: reading is apart from judging, so that the judgement
/// can be tried on machines that are not at hand.
namespace lambdo::doctor {

/// uname(2)'s release, such as "6.1.0-18-amd64".
std::string kernel_release();
Finding kernel_finding(std::string_view release);

Finding kvm_finding(const Result<kvm::ProbeReport>& report);

/// Where the controllers are that limit memory, processes and processor time.
struct CgroupLayout {
  std::string v2_path;                           ///< our own cgroup in the v2 hierarchy; empty: not mounted
  std::vector<std::string> v2_controllers;       ///< that are delegated to it
  std::map<std::string, std::string> v1_mounts;  ///< controller to mount point
  std::vector<std::string> not_writable;         ///< of the folders above, for this user
};
/// `mounts` as in /proc/self/mounts, `own_cgroups` as in /proc/self/cgroup.
CgroupLayout parse_cgroup_layout(std::string_view mounts, std::string_view own_cgroups);
CgroupLayout read_cgroup_layout();
Finding cgroup_finding(const CgroupLayout& layout);

Finding tun_finding(const std::string& device);
enum class IpVersion { v4, v6 };
/// Whether the machine forwards packets, as what guests send to elsewhere needs. `path` is the sysctl's file.
/// A failure where it does not and a configuration needs it.
Finding forwarding_finding(const std::string& path, IpVersion version, bool needed);
Finding memory_finding();
Finding open_files_finding();

}  // namespace lambdo::doctor
