#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "registry/digest.h"

namespace lambdo::registry {

/// The name of an image, as people and registries write it (the grammar of distribution/reference):
///
///   reference  = name [":" tag] ["@" digest]
///   name       = [host [":" port] "/"] repository
///   repository = component *("/" component)
///   component  = 1*(a-z 0-9), parts of it joined by ".", "_", "__" or any number of "-"
///   tag        = (letter, digit or "_") up to 127 more of these, "." or "-"
///
/// What stands before the first "/" is a host where it is "localhost", or has a ".", a ":" or an upper case
/// letter. Without a host it is docker.io, whose images of one component lie under "library/".
struct Reference {
  static constexpr std::string_view kDefaultHost = "docker.io";
  static constexpr std::string_view kDefaultTag = "latest";
  static constexpr size_t kMaxHostLength = 255;
  static constexpr size_t kMaxRepositoryLength = 255;
  static constexpr size_t kMaxTagLength = 128;

  std::string host = std::string(kDefaultHost);  ///< with the port where there is one: "localhost:5000"
  std::string repository;                        ///< "library/python"
  std::string tag;               ///< empty only where there is a digest; it decides where there are both
  std::optional<Digest> digest;  ///< of a manifest or an index

  /// invalid_argument says which part breaks which rule. Where the text has neither tag nor digest the tag is
  /// "latest".
  static Result<Reference> parse(std::string_view text);

  /// All of it: "docker.io/library/python:3.12". `parse` gives the same reference for it.
  [[nodiscard]] std::string text() const;
  /// As short as people write it: "python:3.12". `parse` gives the same reference for it.
  [[nodiscard]] std::string familiar() const;
  /// What a registry's API names the manifest by: the digest's text where there is one, else the tag.
  [[nodiscard]] std::string selector() const { return digest ? digest->text() : tag; }

  bool operator==(const Reference&) const = default;
};

}  // namespace lambdo::registry
