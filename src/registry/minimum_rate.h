#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "registry/settings.h"

namespace lambdo::registry {

/// Watches that a body comes fast enough. Only the time that was spent waiting for it counts: a reader that
/// takes its time is not the server's fault.
class MinimumRate {
 public:
  /// `settings` outlive it.
  explicit MinimumRate(const Settings& settings) : settings_(&settings) {}

  /// `len_bytes` came after a wait of `waited_ns`. Code::timeout where the window that ends with them was too
  /// slow.
  Result<> note(uint64_t len_bytes, int64_t waited_ns) {
    bytes_ += len_bytes;
    waited_ns_ += waited_ns;
    const int64_t window_ns = settings_->rate_window_ms * 1'000'000;
    if (window_ns <= 0 || waited_ns_ < window_ns) return {};
    const double seconds = static_cast<double>(waited_ns_) / 1e9;
    if (static_cast<double>(bytes_) < static_cast<double>(settings_->min_blob_bytes_per_s) * seconds) {
      return fail(Code::timeout, "the blob comes too slowly: " + std::to_string(bytes_) + " bytes in " +
                                     std::to_string(waited_ns_ / 1'000'000) + " ms, less than " +
                                     std::to_string(settings_->min_blob_bytes_per_s) + " bytes a second");
    }
    bytes_ = 0;
    waited_ns_ = 0;
    return {};
  }

 private:
  const Settings* settings_;
  uint64_t bytes_ = 0;
  int64_t waited_ns_ = 0;
};

}  // namespace lambdo::registry
