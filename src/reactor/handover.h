#pragma once

#include <atomic>
#include <memory>
#include <utility>

namespace lambdo::reactor {

/// Passes values from any threads to whoever takes them, and no thread ever waits for another: a mutex would
/// make the loop wait for as long as a thread of lower priority that holds it gets no processor.
template <typename T>
class Handover {
 public:
  Handover() = default;
  ~Handover() {
    take_all([](T) {});
  }
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  /// Thread-safe.
  void push(T value) {
    auto* const item = new Item{std::move(value), newest_.load(std::memory_order_relaxed)};
    while (!newest_.compare_exchange_weak(item->next, item, std::memory_order_release,
                                          std::memory_order_relaxed)) {
    }
  }

  /// Gives all that is there now to `take`, in the order pushed. Thread-safe; each value is given once.
  template <typename Take>
  void take_all(Take take) noexcept {
    Item* item = reversed(newest_.exchange(nullptr, std::memory_order_acquire));
    while (item != nullptr) {
      const std::unique_ptr<Item> taken(item);
      item = item->next;
      take(std::move(taken->value));
    }
  }

 private:
  struct Item {
    T value;
    Item* next;  ///< as pushed: the one before it
  };

  static Item* reversed(Item* newest) {
    Item* oldest = nullptr;
    while (newest != nullptr) {
      Item* const before = std::exchange(newest->next, oldest);
      oldest = std::exchange(newest, before);
    }
    return oldest;
  }

  std::atomic<Item*> newest_ = nullptr;
};

}  // namespace lambdo::reactor
