#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lambdo::kvm {

/// What KVM on this machine is good for.
enum class ProbeStatus {
  usable,
  absent,         ///< no device, or no driver behind it
  not_permitted,  ///< the device is there, this user may not open it
  wrong_version,  ///< not the one stable version of the interface
  too_slow,       ///< runs guests, but emulates guest kernel code: a stock kernel never finishes booting
  broken,         ///< a guest did not do what it was told
};

struct ProbeReport {
  ProbeStatus status = ProbeStatus::absent;
  int api_version = 0;      ///< 0 where it could not be asked
  int64_t duration_us = 0;  ///< of the guest's whole loop; 0 where no guest ran
  int loops = 0;            ///< that ran; fewer than 100,000 where the guest was stopped before
  std::string reason;       ///< one line for people
  std::string remedy;       ///< empty where usable

  [[nodiscard]] bool usable() const { return status == ProbeStatus::usable; }
};

struct ProbeOptions {
  std::string device = "/dev/kvm";
  int64_t max_usable_us = 20'000;  ///< a loop that takes longer means: emulated
  int64_t max_run_us = 1'000'000;  ///< the guest is stopped at the first pause after this
};

/// Runs a tiny long-mode guest that counts to 100,000, pausing 20 times, and times nothing but KVM_RUN: well
/// under a millisecond on hardware. The duration is 20 times the median part, so that a busy host's
/// preemptions do not count. Blocks for at most max_run_us and one pause. Fails only where a system call
/// fails that has no reason to.
Result<ProbeReport> probe_kvm(const ProbeOptions& options = {});

/// The finding for a device that open(2) refuses with `os_errno`.
ProbeReport report_of_open_error(int os_errno, const std::string& device);

}  // namespace lambdo::kvm
