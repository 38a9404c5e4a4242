#pragma once

#include <atomic>

namespace lambdo::image {

/// Whether the caller of blocking code has set its flag: it no longer wants the result. Null is never.
inline bool is_stopped(const std::atomic<bool>* stop) {
  return stop != nullptr && stop->load(std::memory_order_relaxed);
}

}  // namespace lambdo::image
