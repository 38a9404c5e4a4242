#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string_view>

#include "base/error.h"
#include "http/message.h"
#include "reactor/cancel.h"
#include "reactor/reactor.h"
#include "reactor/task.h"
#include "registry/settings.h"

namespace lambdo::registry {

/// What a failed attempt says about the next one, beside its error.
struct Attempt {
  bool may_pass = false;  ///< the same request may succeed later
  bool is_ours = false;   ///< whoever wanted the content failed: no other server helps
  bool is_wrong = false;  ///< what came is not what was asked for: worthless to the next attempt
  std::optional<int64_t> retry_after_ms;  ///< what the server asks to wait
};

/// Whether an error of http::Client may be gone at the next attempt: connections that break or hang.
bool may_pass(Code code);
/// The same of a status: 408, 429 and what 5xx there is of this kind.
bool status_may_pass(int status);

/// The milliseconds that a Retry-After field asks for (RFC 9110, 10.2.3): seconds, or a date that is compared
/// with `now_s`. nullopt where it is neither.
std::optional<int64_t> parse_retry_after(std::string_view value, int64_t now_s);
/// Of a response, by the clock.
std::optional<int64_t> retry_after_of(const http::Headers& headers);

/// The attempts at one request: how many, and the waits between them, exponential with jitter.
class Retry {
 public:
  Retry(reactor::Reactor& reactor, const Settings& settings, unsigned max_attempts);

  /// Waits until the next attempt; gives `error` back where there is none, and cancelled.
  reactor::Task<Result<>> wait(Error error, Attempt attempt, reactor::CancelToken token);
  /// The count starts anew: the last attempt got on. Of use a bounded number of times.
  void note_progress();
  [[nodiscard]] unsigned attempts() const { return attempts_; }

 private:
  [[nodiscard]] int64_t next_delay_ms();

  reactor::Reactor* reactor_;
  const Settings* settings_;
  unsigned max_attempts_;
  unsigned attempts_ = 0;
  unsigned times_anew_ = 0;
  std::minstd_rand random_;
};

}  // namespace lambdo::registry
