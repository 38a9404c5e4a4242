#include "virtio_net/rate_limit.h"

#include <algorithm>

#include "base/check.h"

namespace lambdo::virtio_net {

static constexpr int64_t kTokenParts = 1'000'000'000;

TokenBucket::TokenBucket(const RateLimit& limit, int64_t now_ns)
    : limit_(limit), level_(static_cast<int64_t>(limit.burst) * kTokenParts), filled_at_ns_(now_ns) {
  CHECK(limit.is_valid());
}

bool TokenBucket::is_ready(int64_t now_ns) {
  if (limit_.per_second == 0) return true;
  const auto per_second = static_cast<int64_t>(limit_.per_second);
  const int64_t full = static_cast<int64_t>(limit_.burst) * kTokenParts;
  const int64_t elapsed_ns = std::max<int64_t>(now_ns - filled_at_ns_, 0);
  filled_at_ns_ += elapsed_ns;
  // A long pause would overflow the product, and fills the bucket whatever the product is.
  if (elapsed_ns > (full - level_) / per_second) {
    level_ = full;
  } else {
    level_ += elapsed_ns * per_second;
  }
  return level_ >= kTokenParts;
}

void TokenBucket::take(uint64_t tokens) {
  CHECK(tokens <= kMaxTaken);
  if (limit_.per_second != 0) level_ -= static_cast<int64_t>(tokens) * kTokenParts;
}

int64_t TokenBucket::ready_at_ns() const {
  if (limit_.per_second == 0 || level_ >= kTokenParts) return filled_at_ns_;
  const auto per_second = static_cast<int64_t>(limit_.per_second);
  return filled_at_ns_ + (kTokenParts - level_ + per_second - 1) / per_second;
}

int64_t RateLimiter::ready_at_ns() const {
  return std::max(bytes_.ready_at_ns(), packets_.ready_at_ns());
}

}  // namespace lambdo::virtio_net
