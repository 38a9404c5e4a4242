#include "registry/retry.h"

#include <algorithm>
#include <chrono>

#include "base/text.h"
#include "reactor/timer.h"
#include "registry/dates.h"

namespace lambdo::registry {

bool may_pass(Code code) {
  return code == Code::closed || code == Code::timeout || code == Code::io;
}

bool status_may_pass(int status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

std::optional<int64_t> parse_retry_after(std::string_view value, int64_t now_s) {
  // Whoever asks for years is not waited for anyway.
  constexpr int64_t kMaxSeconds = 1'000'000'000;
  int64_t wait_s = 0;
  if (const auto seconds = parse_uint(value)) {
    wait_s = static_cast<int64_t>(std::min<uint64_t>(*seconds, kMaxSeconds));
  } else if (const auto date = parse_http_date(value)) {
    wait_s = std::clamp<int64_t>(*date - now_s, 0, kMaxSeconds);
  } else {
    return std::nullopt;
  }
  return wait_s * 1000;
}

std::optional<int64_t> retry_after_of(const http::Headers& headers) {
  const auto value = headers.find("retry-after");
  if (!value) return std::nullopt;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return parse_retry_after(*value, std::chrono::duration_cast<std::chrono::seconds>(now).count());
}

Retry::Retry(reactor::Reactor& reactor, const Settings& settings, unsigned max_attempts)
    : reactor_(&reactor),
      settings_(&settings),
      max_attempts_(max_attempts),
      random_(static_cast<std::minstd_rand::result_type>(reactor.now_ns())) {}

int64_t Retry::next_delay_ms() {
  const unsigned doublings = std::min(attempts_ - 1, 20U);
  const int64_t delay_ms = std::min(settings_->first_delay_ms << doublings, settings_->max_delay_ms);
  // Between half and all of it: many that failed at once do not come back at once.
  return std::uniform_int_distribution<int64_t>(delay_ms / 2, delay_ms)(random_);
}

void Retry::note_progress() {
  // A peer that breaks off after every little is left at some time.
  constexpr unsigned kMaxTimes = 100;
  if (times_anew_++ < kMaxTimes) attempts_ = 0;
}

reactor::Task<Result<>> Retry::wait(Error error, Attempt attempt, reactor::CancelToken token) {
  ++attempts_;
  if (!attempt.may_pass || attempt.is_ours || attempts_ >= max_attempts_)
    co_return std::unexpected(std::move(error));
  int64_t delay_ms = next_delay_ms();
  if (attempt.retry_after_ms) {
    if (*attempt.retry_after_ms > settings_->max_retry_after_ms) {
      error.message += "; it asks to wait " + std::to_string(*attempt.retry_after_ms / 1000) + " s";
      co_return std::unexpected(std::move(error));
    }
    delay_ms = std::max(delay_ms, *attempt.retry_after_ms);
  }
  co_return co_await reactor::SleepOp::for_ms(*reactor_, delay_ms, token);
}

}  // namespace lambdo::registry
