#pragma once

#include <cstdint>

namespace lambdo::virtio_net {

/// So many a second on average, and `burst` at once after a pause.
struct RateLimit {
  /// What keeps a bucket's arithmetic within 64 bits.
  static constexpr uint64_t kMaxPerSecond = 1'000'000'000'000;
  static constexpr uint64_t kMaxBurst = uint64_t{1} << 32;

  uint64_t per_second = 0;  ///< 0: no limit; at most kMaxPerSecond
  uint64_t burst = 0;       ///< 1 to kMaxBurst where there is a limit

  [[nodiscard]] bool is_valid() const {
    return per_second == 0 || (per_second <= kMaxPerSecond && burst > 0 && burst <= kMaxBurst);
  }
};

/// A token bucket. It knows no clock: all times are the caller's, in nanoseconds from any start, and a time
/// before one that was given already counts as that one.
///
/// Something may pass whenever there is a token at all, and may then take more than there are: a frame longer
/// than the burst is only followed by a longer pause, and the average holds all the same.
class TokenBucket {
 public:
  /// What may be taken at once.
  static constexpr uint64_t kMaxTaken = uint64_t{1} << 32;

  /// Full. `limit` is valid.
  TokenBucket(const RateLimit& limit, int64_t now_ns);

  [[nodiscard]] bool is_ready(int64_t now_ns);
  void take(uint64_t tokens);
  /// When the bucket, as it is, will be ready. In the past where it was.
  [[nodiscard]] int64_t ready_at_ns() const;

 private:
  RateLimit limit_;
  int64_t level_;  // in 10^-9 tokens, so that rate times nanoseconds is exact
  int64_t filled_at_ns_;
};

/// The limits of one direction.
struct DirectionLimits {
  RateLimit bytes;
  RateLimit packets;
};

/// Both buckets of a direction: what passes takes from both, and waits for both.
class RateLimiter {
 public:
  RateLimiter(const DirectionLimits& limits, int64_t now_ns)
      : bytes_(limits.bytes, now_ns), packets_(limits.packets, now_ns) {}

  [[nodiscard]] bool is_ready(int64_t now_ns) {
    const bool bytes_ready = bytes_.is_ready(now_ns);
    return packets_.is_ready(now_ns) && bytes_ready;
  }
  void take(uint64_t bytes, uint64_t packets) {
    bytes_.take(bytes);
    packets_.take(packets);
  }
  [[nodiscard]] int64_t ready_at_ns() const;

 private:
  TokenBucket bytes_;
  TokenBucket packets_;
};

}  // namespace lambdo::virtio_net
