#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace lambdo::engine {

/// What one run may use. Every field is positive.
struct Limits {
  uint64_t wall_ms = 10'000;            ///< all steps together
  uint64_t cpu_ms = 10'000;             ///< user and system time of all processes together
  uint64_t memory_mb = 256;             ///< MiB, all processes and the files they write together
  uint64_t output_bytes = 1024 * 1024;  ///< kept of each step's stdout and of its stderr
  uint64_t processes = 64;              ///< processes and threads at one time
  uint64_t disk_mb = 64;                ///< MiB of files in the workspace, and the same again in /tmp

  bool operator==(const Limits&) const = default;
};

/// One command of a language.
struct Step {
  std::string name;     ///< for people; may be empty
  std::string command;  ///< for /bin/sh -c; {{filename}} and {{args}} are replaced
  bool output_enabled = true;
  bool output_debug = false;
};

/// How programs of one language are run.
struct Language {
  std::string name;
  std::string version;
  std::string rootfs;     ///< folder with the root file system; may be empty
  std::string initramfs;  ///< newc archive for the kvm engine; may be empty
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<Step> steps;    ///< at least one
  Limits limits;              ///< where the request names none
  uint32_t warm = 0;          ///< guests kept ready
  uint32_t cpu_percent = 0;   ///< of one processor, for each guest; 0: no limit
  uint64_t vm_memory_mb = 0;  ///< MiB of RAM of a microVM; 0: as much as image and limits need
  uint32_t vcpus = 1;         ///< processors of a microVM
};

}  // namespace lambdo::engine
