#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/policy.h"

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

/// Who steps run as in the guest. Never root.
struct StepUser {
  uint32_t uid = 1000;
  uint32_t gid = 1000;

  bool operator==(const StepUser&) const = default;
};

/// How programs of one language are run.
struct Language {
  std::string name;
  std::string version;
  std::string image;      ///< where its image comes from, as configured; excludes the two below
  std::string rootfs;     ///< folder with the root file system; may be empty
  std::string initramfs;  ///< newc archive for the kvm engine; may be empty
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<Step> steps;    ///< at least one
  Limits limits;              ///< where the request names none
  uint32_t warm = 0;          ///< guests kept ready
  uint32_t cpu_percent = 0;   ///< of one processor, for each guest; 0: no limit
  uint64_t vm_memory_mb = 0;  ///< MiB of RAM of a microVM; 0: as much as image and limits need
  uint32_t vcpus = 1;         ///< processors of a microVM
  /// The image brings an init of its own, which starts an agent of its own: the original Lambdo's layout.
  /// Ours hands over to it; the agent comes over the guest's network.
  bool has_own_init = false;
  StepUser user;
  net::Policy network;  ///< what its programs may reach, unless a request says less; none: no network at all
};

/// How far a language is whose image has to be brought here first.
struct LanguageState {
  enum class Phase {
    waiting,    ///< nothing has happened yet
    fetching,   ///< the image's layers come from a registry
    importing,  ///< they are copied from a layout or an archive of this machine
    unpacking,  ///< they are made into what guests run from
    failed,     ///< the last attempt failed; another one follows
    ready       ///< guests can be started
  };

  Phase phase = Phase::ready;
  uint64_t done_bytes = 0;   ///< of the layers, compressed
  uint64_t total_bytes = 0;  ///< 0: not known yet
  std::string problem;       ///< of the last attempt; empty: none has failed

  /// "waiting", "fetching", ...
  [[nodiscard]] std::string_view name() const;
  /// Why runs have to wait, for people: "its image is being fetched (41% of 52 MB)".
  [[nodiscard]] std::string sentence() const;
};

}  // namespace lambdo::engine
