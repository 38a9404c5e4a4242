#pragma once

#include <atomic>

#include "reactor/cancel.h"

namespace lambdo::image {

/// Tells blocking code on another thread that its caller no longer wants the result. Lives on the reactor's
/// thread, at least as long as that code runs.
class StopFlag final : private reactor::CancelHook {
 public:
  explicit StopFlag(reactor::CancelToken token) : stopped_(token.cancelled()) {
    if (token.source() != nullptr && !token.cancelled()) hook(*token.source());
  }
  ~StopFlag() { unhook(); }

  [[nodiscard]] const std::atomic<bool>& flag() const { return stopped_; }

 private:
  void on_cancel() override { stopped_.store(true, std::memory_order_relaxed); }

  std::atomic<bool> stopped_;
};

}  // namespace lambdo::image
