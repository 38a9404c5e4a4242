#include "image/layers/string_arena.h"

#include <cstring>

namespace lambdo::image {

std::string_view StringArena::keep(std::string_view text) {
  const size_t needed = text.size() + 1;
  if (needed > free_bytes_) {
    // What is left of a piece is given up: strings are short beside it.
    const size_t piece_bytes = needed > kPieceBytes / 4 ? needed : kPieceBytes;
    pieces_.push_back(std::make_unique_for_overwrite<char[]>(piece_bytes));
    size_bytes_ += piece_bytes;
    if (piece_bytes == needed) return copy_to(pieces_.back().get(), text);
    next_ = pieces_.back().get();
    free_bytes_ = piece_bytes;
  }
  char* to = next_;
  next_ += needed;
  free_bytes_ -= needed;
  return copy_to(to, text);
}

std::string_view StringArena::copy_to(char* to, std::string_view text) {
  if (!text.empty()) std::memcpy(to, text.data(), text.size());
  to[text.size()] = '\0';
  return {to, text.size()};
}

}  // namespace lambdo::image
