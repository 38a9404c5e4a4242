#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

namespace lambdo::image {

/// Keeps strings in few large pieces of memory, for as long as it lives; they do not move. Each is followed
/// by a NUL.
class StringArena {
 public:
  std::string_view keep(std::string_view text);
  [[nodiscard]] size_t size_bytes() const { return size_bytes_; }
  /// A kept string for a system call.
  [[nodiscard]] static const char* c_str(std::string_view kept) { return kept.begin(); }

 private:
  static constexpr size_t kPieceBytes = 64 << 10;

  static std::string_view copy_to(char* to, std::string_view text);

  std::vector<std::unique_ptr<char[]>> pieces_;
  size_t free_bytes_ = 0;
  char* next_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace lambdo::image
