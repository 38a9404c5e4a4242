#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lambdo::namespaces {

/// What the sandboxes of one language are made of.
struct SandboxSpec {
  std::string name;        ///< for error messages
  std::string rootfs;      ///< folder that becomes the read-only root
  std::string agent_path;  ///< static binary, started as `/.lambdo/agent --fd N`
  std::vector<std::pair<std::string, std::string>> environment;
  uint64_t memory_mb = 256;  ///< MiB of everything in it: the agent's memory and the tmpfs files too
  uint64_t processes = 64;   ///< tasks at one time, two of bubblewrap and the agent's threads among them
  uint64_t disk_mb = 64;     ///< MiB of each of /workspace, /tmp and /dev/shm
  uint32_t cpu_percent = 0;  ///< of one processor; 0 is no limit
  uint32_t uid = 1000;       ///< as the sandbox sees it; never 0
  uint32_t gid = 1000;
  bool networked = false;     ///< each is started in a network namespace given with it
  std::string resolver_file;  ///< of those with a network: the text of /etc/resolv.conf

  bool operator==(const SandboxSpec&) const = default;
};

/// Given by the client, never used twice.
using SandboxId = uint64_t;

/// What a sandbox used since it was started. Zeros where the machine has no cgroup that could tell.
struct Usage {
  uint64_t oom_kills = 0;
  uint64_t memory_peak_bytes = 0;
  uint64_t cpu_us = 0;
};

/// A sandbox that ended without being destroyed.
struct SandboxExit {
  SandboxId sandbox = 0;
  int wait_status = 0;  ///< wait(2)
  std::string output;   ///< the start of what bubblewrap or the agent wrote to stderr, printable
};

}  // namespace lambdo::namespaces
