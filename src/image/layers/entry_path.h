#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lambdo::image {

/// The normal form of a name in an archive: "./a//b/" is "a/b", "./" is empty (the root).
/// layer_invalid: no name at all, or a part of over 255 bytes. path_escape: an absolute name, or ".." in it.
/// image_too_large: over `max_bytes`.
Result<std::string> normal_path(std::string_view name, size_t max_bytes);

/// A name for a message: in quotes, what is not printable ASCII as \xNN, the middle cut out of long ones.
std::string quoted(std::string_view name);

/// Takes the first part off `path`, and the '/' behind it.
std::string_view take_part(std::string_view& path);

struct SplitPath {
  std::string_view folder;  ///< empty where the name stands in the root
  std::string_view name;
};
SplitPath split_path(std::string_view path);

}  // namespace lambdo::image
