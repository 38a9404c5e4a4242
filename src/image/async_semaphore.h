#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>

#include "base/error.h"
#include "reactor/cancel.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

/// Who may work at the same time, among the coroutines of one reactor.
namespace lambdo::image {

/// One permit of a semaphore, given back when this dies; or none.
template <typename Owner>
class Permit {
 public:
  Permit() = default;
  Permit(Owner& owner, std::string key) : owner_(&owner), key_(std::move(key)) {}
  Permit(Permit&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)), key_(std::move(other.key_)) {}
  Permit& operator=(Permit&& other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(key_, other.key_);
    return *this;
  }
  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;
  ~Permit() {
    if (owner_ != nullptr) owner_->give_back(key_);
  }

 private:
  Owner* owner_ = nullptr;
  std::string key_;
};

/// A counting semaphore: at most so many permits at once.
class Semaphore {
 public:
  Semaphore(reactor::Reactor& reactor, size_t count) : free_(count), changed_(reactor) {}

  reactor::Task<Result<Permit<Semaphore>>> take(reactor::CancelToken token);

 private:
  friend Permit<Semaphore>;
  void give_back(const std::string& key);

  size_t free_;
  reactor::Event changed_;
};

/// A counting semaphore for each key.
class KeyedSemaphore {
 public:
  explicit KeyedSemaphore(reactor::Reactor& reactor, size_t count = 1) : count_(count), changed_(reactor) {}

  reactor::Task<Result<Permit<KeyedSemaphore>>> take(std::string key, reactor::CancelToken token);

 private:
  friend Permit<KeyedSemaphore>;
  void give_back(const std::string& key);

  size_t count_;
  std::map<std::string, size_t> taken_;
  reactor::Event changed_;
};

}  // namespace lambdo::image
