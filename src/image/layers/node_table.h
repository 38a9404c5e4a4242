#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace lambdo::image {

/// A hash table of numbers by their hashes, four bytes a slot: what it holds is compared by whoever asks.
/// Where others choose what is hashed, the hashes have to be keyed ones.
class NodeTable {
 public:
  using Id = uint32_t;
  static constexpr Id kNone = ~Id{0};

  /// The first number for which `is_it(number)` holds; kNone where there is none.
  template <typename IsIt>
  [[nodiscard]] Id find(uint32_t hash, IsIt is_it) const {
    if (slots_.empty()) return kNone;
    for (size_t at = hash & mask(); slots_[at] != kNone; at = (at + 1) & mask()) {
      if (is_it(slots_[at])) return slots_[at];
    }
    return kNone;
  }
  /// `hash_of(number)` gives the hash of one that is in the table.
  template <typename HashOf>
  void insert(uint32_t hash, Id id, HashOf hash_of) {
    if ((count_ + 1) * 4 > slots_.size() * 3) grow(hash_of);
    put(hash, id);
    ++count_;
  }
  template <typename HashOf>
  void erase(uint32_t hash, Id id, HashOf hash_of) {
    size_t hole = hash & mask();
    while (slots_[hole] != id) hole = (hole + 1) & mask();
    // What follows moves up where its place allows it, so that no search ends too early.
    for (size_t at = (hole + 1) & mask(); slots_[at] != kNone; at = (at + 1) & mask()) {
      const size_t home = hash_of(slots_[at]) & mask();
      if (((at - home) & mask()) < ((at - hole) & mask())) continue;
      slots_[hole] = slots_[at];
      hole = at;
    }
    slots_[hole] = kNone;
    --count_;
  }

 private:
  [[nodiscard]] size_t mask() const { return slots_.size() - 1; }
  void put(uint32_t hash, Id id) {
    size_t at = hash & mask();
    while (slots_[at] != kNone) at = (at + 1) & mask();
    slots_[at] = id;
  }
  template <typename HashOf>
  void grow(HashOf hash_of) {
    const std::vector<Id> old = std::move(slots_);
    slots_.assign(old.empty() ? 64 : old.size() * 2, kNone);
    for (const Id id : old) {
      if (id != kNone) put(hash_of(id), id);
    }
  }

  std::vector<Id> slots_;
  size_t count_ = 0;
};

}  // namespace lambdo::image
