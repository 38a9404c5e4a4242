#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "image/layouts/transfer.h"
#include "registry/reference.h"

namespace lambdo::image {

/// Where an image comes from, as configurations and commands name it:
///
///   python:3.12-slim, ghcr.io/a/b@sha256:...   an image of a registry (registry/reference.h)
///   oci:FOLDER[:TAG]                           an OCI image layout (ImagePlace)
///   docker-archive:FILE[:NAME[:TAG]]           what `docker save` writes (the same)
///
/// Without a tag or name the layout or archive must have one image only. Folder and file have no ":".
struct ImageSource {
  enum class Kind { registry, place };

  Kind kind = Kind::registry;
  registry::Reference reference;  ///< of a registry's image
  ImagePlace place;               ///< of one that lies elsewhere

  /// invalid_argument says which part is wrong and what to write.
  static Result<ImageSource> parse(std::string_view text);
  /// As one writes it.
  [[nodiscard]] std::string text() const;
};

}  // namespace lambdo::image
