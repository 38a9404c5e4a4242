#include "image/async_semaphore.h"

namespace lambdo::image {

reactor::Task<Result<Permit<Semaphore>>> Semaphore::take(reactor::CancelToken token) {
  while (free_ == 0) CO_TRY(co_await changed_.wait(token));
  --free_;
  co_return Permit<Semaphore>(*this, {});
}

void Semaphore::give_back(const std::string& /*key*/) {
  ++free_;
  // All are woken, for the first one may be cancelled before its turn comes.
  changed_.notify_all();
}

reactor::Task<Result<Permit<KeyedSemaphore>>> KeyedSemaphore::take(std::string key,
                                                                   reactor::CancelToken token) {
  while (taken_[key] == count_) CO_TRY(co_await changed_.wait(token));
  ++taken_[key];
  co_return Permit<KeyedSemaphore>(*this, std::move(key));
}

void KeyedSemaphore::give_back(const std::string& key) {
  const auto taken = taken_.find(key);
  if (--taken->second == 0) taken_.erase(taken);
  changed_.notify_all();
}

}  // namespace lambdo::image
