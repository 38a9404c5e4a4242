#include "image/layers/entry_path.h"

#include <array>

#include "base/text.h"

namespace lambdo::image {

namespace {

constexpr size_t kMaxPartBytes = 255;  // NAME_MAX
constexpr size_t kMaxQuotedBytes = 200;

}  // namespace

Result<std::string> normal_path(std::string_view name, size_t max_bytes) {
  if (name.empty()) return fail(Code::layer_invalid, "an entry without a name");
  if (name.size() > max_bytes) {
    return fail(Code::image_too_large,
                quoted(name) + ": a name of over " + std::to_string(max_bytes) + " bytes");
  }
  if (name.front() == '/') return fail(Code::path_escape, quoted(name) + ": an absolute name");
  std::string result;
  result.reserve(name.size());
  for (std::string_view rest = name; !rest.empty();) {
    const std::string_view part = take_part(rest);
    if (part.empty() || part == ".") continue;
    if (part == "..") return fail(Code::path_escape, quoted(name) + ": a name with '..' in it");
    if (part.size() > kMaxPartBytes) {
      return fail(Code::layer_invalid, quoted(name) + ": a part of over 255 bytes");
    }
    if (!result.empty()) result += '/';
    result += part;
  }
  return result;
}

std::string quoted(std::string_view name) {
  std::string result = "'";
  for (size_t i = 0; i < name.size(); ++i) {
    if (name.size() > kMaxQuotedBytes && i == kMaxQuotedBytes / 2) {
      result += "[...]";
      i = name.size() - kMaxQuotedBytes / 2;
    }
    const auto byte = static_cast<unsigned char>(name[i]);
    if (byte >= 0x20 && byte < 0x7f && byte != '\\' && byte != '\'') {
      result += name[i];
    } else {
      result += {'\\', 'x', kHexDigits[byte >> 4U], kHexDigits[byte & 0xfU]};
    }
  }
  return result + "'";
}

std::string_view take_part(std::string_view& path) {
  const size_t end = path.find('/');
  const std::string_view part = path.substr(0, end);
  path = end == std::string_view::npos ? std::string_view() : path.substr(end + 1);
  return part;
}

SplitPath split_path(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {.folder = {}, .name = path};
  return {.folder = path.substr(0, slash), .name = path.substr(slash + 1)};
}

}  // namespace lambdo::image
