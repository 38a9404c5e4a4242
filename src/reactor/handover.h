#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

namespace lambdo::reactor {

/// Passes values from any threads to whoever takes them, and no thread ever waits for another: a mutex would
/// make the loop wait for as long as a thread of lower priority that holds it gets no processor.
template <typename T>
class Handover {
 public:
  Handover() = default;
  ~Handover() { take_all(); }
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  /// Thread-safe. Tells whether nothing was there.
  bool push(T value) {
    auto item = std::make_unique<Item>(std::move(value), newest_.load(std::memory_order_relaxed));
    Item* before = item->before;
    while (!newest_.compare_exchange_weak(before, item.get(), std::memory_order_release,
                                          std::memory_order_relaxed)) {
      item->before = before;
    }
    item.release();  // whoever takes the values may have it already
    return before == nullptr;
  }

  /// All that is there, in the order pushed. Thread-safe; each value is given once.
  std::vector<T> take_all() {
    std::vector<T> values;
    std::unique_ptr<Item> item(newest_.exchange(nullptr, std::memory_order_acquire));
    while (item) {
      values.push_back(std::move(item->value));
      item.reset(item->before);
    }
    std::ranges::reverse(values);
    return values;
  }

 private:
  struct Item {
    T value;
    Item* before;
  };
  std::atomic<Item*> newest_ = nullptr;
};

}  // namespace lambdo::reactor
