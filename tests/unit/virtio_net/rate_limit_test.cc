#include "virtio_net/rate_limit.h"

#include <initializer_list>
#include <limits>

#include "test.h"

namespace lambdo::virtio_net {

constexpr int64_t kSecond = 1'000'000'000;

TEST_CASE("without a limit everything passes at once") {
  TokenBucket bucket({}, 5);
  for (int i = 0; i < 10; ++i) {
    CHECK(bucket.is_ready(5));
    bucket.take(TokenBucket::kMaxTaken);
  }
  CHECK_LE(bucket.ready_at_ns(), 5);
}

TEST_CASE("a burst passes at once, then the rate holds") {
  TokenBucket bucket({.per_second = 100, .burst = 10}, 0);
  for (int i = 0; i < 10; ++i) {
    CHECK(bucket.is_ready(0));
    bucket.take(1);
  }
  CHECK_FALSE(bucket.is_ready(0));
  CHECK_EQ(bucket.ready_at_ns(), kSecond / 100);
  CHECK_FALSE(bucket.is_ready(kSecond / 100 - 1));
  CHECK(bucket.is_ready(kSecond / 100));
  bucket.take(1);
  CHECK_EQ(bucket.ready_at_ns(), kSecond / 50);
  // A long pause fills it, no further than the burst.
  CHECK(bucket.is_ready(100 * kSecond));
  for (int i = 0; i < 10; ++i) bucket.take(1);
  CHECK_FALSE(bucket.is_ready(100 * kSecond));
}

TEST_CASE("what is larger than the burst passes, and is paid for afterwards") {
  TokenBucket bucket({.per_second = 1000, .burst = 10}, 0);
  CHECK(bucket.is_ready(0));
  bucket.take(1510);
  CHECK_EQ(bucket.ready_at_ns(), 1501 * kSecond / 1000);
  CHECK_FALSE(bucket.is_ready(1501 * kSecond / 1000 - 1));
  CHECK(bucket.is_ready(1501 * kSecond / 1000));
}

TEST_CASE("no fraction of a token is lost or made up, however often it is asked") {
  for (const uint64_t per_second : {uint64_t{3}, uint64_t{7}, uint64_t{999'999'937}}) {
    CAPTURE(per_second);
    const uint64_t step = per_second / 1000 + 1;
    const uint64_t burst = 4 * step;
    TokenBucket bucket({.per_second = per_second, .burst = burst}, 0);
    uint64_t taken = 0;
    int64_t now_ns = 0;
    while (now_ns < 20 * kSecond) {
      if (bucket.is_ready(now_ns)) {
        bucket.take(step);
        taken += step;
      }
      now_ns += 999'983;
    }
    const uint64_t expected = 20 * per_second + burst;
    CHECK_LE(taken, expected + step);
    // Less only by what is in the bucket at the end.
    CHECK_GE(taken + burst + step, expected);
  }
}

TEST_CASE("a time that goes back counts as the latest") {
  TokenBucket bucket({.per_second = 10, .burst = 1}, kSecond);
  CHECK(bucket.is_ready(kSecond));
  bucket.take(1);
  CHECK_FALSE(bucket.is_ready(0));
  CHECK_FALSE(bucket.is_ready(kSecond + kSecond / 20));
  CHECK_FALSE(bucket.is_ready(kSecond));
  CHECK(bucket.is_ready(kSecond + kSecond / 10));
}

TEST_CASE("the extremes of rate, burst and time overflow nowhere") {
  constexpr int64_t kMaxTime = std::numeric_limits<int64_t>::max() / 2;
  for (const uint64_t per_second : {uint64_t{1}, RateLimit::kMaxPerSecond}) {
    for (const uint64_t burst : {uint64_t{1}, RateLimit::kMaxBurst}) {
      CAPTURE(per_second);
      CAPTURE(burst);
      TokenBucket bucket({per_second, burst}, 0);
      CHECK(bucket.is_ready(0));
      bucket.take(TokenBucket::kMaxTaken);
      CHECK_FALSE(bucket.is_ready(0));
      const int64_t ready_ns = bucket.ready_at_ns();
      CHECK_GT(ready_ns, 0);
      CHECK(bucket.is_ready(ready_ns));
      CHECK(bucket.is_ready(kMaxTime));
    }
  }
  CHECK(RateLimit{}.is_valid());
  CHECK(RateLimit{RateLimit::kMaxPerSecond, RateLimit::kMaxBurst}.is_valid());
  CHECK_FALSE(RateLimit{RateLimit::kMaxPerSecond + 1, 1}.is_valid());
  CHECK_FALSE(RateLimit{1, RateLimit::kMaxBurst + 1}.is_valid());
  CHECK_FALSE(RateLimit{1, 0}.is_valid());
}

TEST_CASE("a direction waits for both its limits") {
  RateLimiter limiter({.bytes = {1000, 1000}, .packets = {10, 2}}, 0);
  CHECK(limiter.is_ready(0));
  limiter.take(100, 2);
  CHECK_FALSE(limiter.is_ready(0));  // of packets
  CHECK_EQ(limiter.ready_at_ns(), kSecond / 10);
  CHECK(limiter.is_ready(kSecond));
  limiter.take(3000, 1);
  CHECK_FALSE(limiter.is_ready(kSecond));  // of bytes
  CHECK_EQ(limiter.ready_at_ns(), kSecond + 2001 * kSecond / 1000);
  CHECK(limiter.is_ready(limiter.ready_at_ns()));
}

}  // namespace lambdo::virtio_net
