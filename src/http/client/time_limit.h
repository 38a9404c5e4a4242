#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"
#include "reactor/timer.h"

namespace lambdo::http {

/// Bounds one step of a request, and names it where its time was over.
class TimeLimit {
 public:
  /// 0 ms is no limit.
  TimeLimit(reactor::Reactor& reactor, int64_t limit_ms, reactor::CancelToken parent)
      : limit_ms_(limit_ms), deadline_(reactor, end_ns(reactor, limit_ms), parent) {}

  [[nodiscard]] reactor::CancelToken token() { return deadline_.token(); }
  [[nodiscard]] bool passed() const { return deadline_.passed(); }
  /// `error` as it is, or Code::timeout where the limit is what cancelled: "`what` took longer than 5000 ms".
  [[nodiscard]] Error explain(Error error, const std::string& what) const {
    if (error.code != Code::cancelled || !deadline_.passed()) return error;
    return {Code::timeout, 0, what + " took longer than " + std::to_string(limit_ms_) + " ms"};
  }

 private:
  static int64_t end_ns(const reactor::Reactor& reactor, int64_t limit_ms) {
    constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
    int64_t duration_ns = 0;
    int64_t end = 0;
    if (limit_ms <= 0 || __builtin_mul_overflow(limit_ms, 1'000'000, &duration_ns) ||
        __builtin_add_overflow(reactor.now_ns(), duration_ns, &end)) {
      return kNever;
    }
    return end;
  }

  int64_t limit_ms_;
  reactor::Deadline deadline_;
};

}  // namespace lambdo::http
