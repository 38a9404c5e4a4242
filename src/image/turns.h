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

/// Owns one of a fixed number of seats, or nothing.
template <typename Owner>
class Held {
 public:
  Held() = default;
  Held(Owner& owner, std::string key) : owner_(&owner), key_(std::move(key)) {}
  Held(Held&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), key_(std::move(other.key_)) {}
  Held& operator=(Held&& other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(key_, other.key_);
    return *this;
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    if (owner_ != nullptr) owner_->give_back(key_);
  }

 private:
  Owner* owner_ = nullptr;
  std::string key_;
};

/// At most so many at once.
class Seats {
 public:
  Seats(reactor::Reactor& reactor, size_t count) : free_(count), changed_(reactor) {}

  reactor::Task<Result<Held<Seats>>> take(reactor::CancelToken token);

 private:
  friend Held<Seats>;
  void give_back(const std::string& key);

  size_t free_;
  reactor::Event changed_;
};

/// At most so many at once for each key.
class KeyedTurns {
 public:
  explicit KeyedTurns(reactor::Reactor& reactor, size_t count = 1) : count_(count), changed_(reactor) {}

  reactor::Task<Result<Held<KeyedTurns>>> take(std::string key, reactor::CancelToken token);

 private:
  friend Held<KeyedTurns>;
  void give_back(const std::string& key);

  size_t count_;
  std::map<std::string, size_t> taken_;
  reactor::Event changed_;
};

}  // namespace lambdo::image
