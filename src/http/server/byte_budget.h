#pragma once

#include <cstddef>

namespace lambdo::http {

/// The memory that all connections of a server may hold together for requests and responses.
class ByteBudget {
 public:
  explicit ByteBudget(size_t limit_bytes) : limit_bytes_(limit_bytes) {}
  ByteBudget(const ByteBudget&) = delete;
  ByteBudget& operator=(const ByteBudget&) = delete;

  [[nodiscard]] size_t used_bytes() const { return used_bytes_; }

  /// What one holder has of it; given back at the end.
  class Share {
   public:
    /// `budget` outlives the share.
    explicit Share(ByteBudget& budget) : budget_(&budget) {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { release(); }

    /// Makes the share this large; false, and nothing changed, where the budget has not that much left.
    bool resize(size_t len_bytes);
    void release() { resize(0); }

   private:
    ByteBudget* budget_;
    size_t len_bytes_ = 0;
  };

 private:
  size_t limit_bytes_;
  size_t used_bytes_ = 0;
};

inline bool ByteBudget::Share::resize(size_t len_bytes) {
  const size_t others_bytes = budget_->used_bytes_ - len_bytes_;
  if (len_bytes > len_bytes_ && len_bytes > budget_->limit_bytes_ - others_bytes) return false;
  budget_->used_bytes_ = others_bytes + len_bytes;
  len_bytes_ = len_bytes;
  return true;
}

}  // namespace lambdo::http
