#pragma once

#include <atomic>
#include <cstddef>

#include "base/error.h"

namespace lambdo::image {

/// Memory for what is known of one image's files beside their contents: names, links' targets, owners,
/// attributes. It counts all that the image's layers bring and all that the tree of them keeps, also what is
/// given up again: whether an image is too large does not depend on which of its layers is read first. May be
/// used by several threads.
class MetadataBudget {
 public:
  struct Limits {
    size_t entries = 1'000'000;
    size_t bytes = 384 << 20;
  };

  explicit MetadataBudget(const Limits& limits) : limits_(limits) {}
  MetadataBudget() : MetadataBudget(Limits()) {}

  /// image_too_large beyond a limit.
  Result<> take_entry();
  Result<> take(size_t bytes);

  class Share;

 private:
  Limits limits_;
  std::atomic<size_t> entries_ = 0;
  std::atomic<size_t> bytes_ = 0;
};

/// What one layer takes. It is given back unless the layer turns out to be good: another may come in its
/// place.
class MetadataBudget::Share {
 public:
  explicit Share(MetadataBudget& budget) : budget_(&budget) {}
  ~Share();
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;

  Result<> take_entry(size_t bytes);
  Result<> take(size_t bytes);
  void keep() { entries_ = bytes_ = 0; }

 private:
  MetadataBudget* budget_;
  size_t entries_ = 0;
  size_t bytes_ = 0;
};

}  // namespace lambdo::image
