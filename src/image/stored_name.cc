#include "image/stored_name.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

namespace lambdo::image {

std::string store_name(const ImageSource& source) {
  if (source.kind == ImageSource::Kind::registry) return source.reference.text();
  ImageSource absolute = source;
  absolute.place.path = std::filesystem::absolute(source.place.path).lexically_normal().string();
  return absolute.text();
}

static Result<std::optional<Name>> find_exact(Store& store, const std::string& text) {
  if (auto name = TRY(store.find_name(text))) return name;
  const auto source = ImageSource::parse(text);
  if (!source) return std::nullopt;
  return store.find_name(store_name(*source));
}

/// All names of images whose digest begins like that.
static Result<std::vector<Name>> find_by_digest(Store& store, const std::string& text) {
  constexpr size_t kLeastDigits = 6;
  const std::string digits = text.starts_with("sha256:") ? text.substr(7) : text;
  std::vector<Name> found;
  if (digits.size() >= kLeastDigits) {
    found = TRY(store.names());
    std::erase_if(found, [&](const Name& name) { return !name.manifest.hex().starts_with(digits); });
  }
  if (found.empty()) return fail(Code::not_found, "the store " + store.folder() + " has no image " + text);
  return found;
}

/// "a:1 (sha256:0123456789ab), ...", of at most a few.
static std::string listed(const std::vector<Name>& names) {
  constexpr size_t kShown = 10;
  std::string list;
  for (size_t i = 0; i < names.size() && i < kShown; ++i) {
    list +=
        (list.empty() ? "" : ", ") + names[i].reference + " (sha256:" + names[i].manifest.short_hex() + ")";
  }
  if (names.size() > kShown) list += " and " + std::to_string(names.size() - kShown) + " more";
  return list;
}

Result<Name> find_image(Store& store, const std::string& text) {
  if (auto name = TRY(find_exact(store, text))) return *std::move(name);
  auto found = TRY(find_by_digest(store, text));
  const auto is_other = [&](const Name& name) { return name.manifest != found.front().manifest; };
  if (std::ranges::any_of(found, is_other)) {
    return fail(Code::invalid_argument, text + " is the beginning of several digests: " + listed(found) +
                                            "; write more of it, or a name");
  }
  return std::move(found.front());
}

Result<Name> find_only_name(Store& store, const std::string& text) {
  if (auto name = TRY(find_exact(store, text))) return *std::move(name);
  auto found = TRY(find_by_digest(store, text));
  if (found.size() > 1) {
    return fail(Code::invalid_argument,
                text + " has several names: " + listed(found) + "; write the name that is meant");
  }
  return std::move(found.front());
}

}  // namespace lambdo::image
