#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "registry/manifest.h"

namespace lambdo::image {

/// registry::parse_manifest where only an image's manifest will do; an index is manifest_invalid. What the
/// document is it says itself, or is OCI's.
Result<registry::Manifest> parse_image_manifest(std::string_view json);

/// The members "mediaType", "digest" and "size", into an object that is open.
void write_descriptor_members(JsonWriter& json, const registry::Descriptor& blob);

/// An OCI manifest of the same configuration and layers: Docker's media types become OCI's.
std::string write_oci_manifest(const registry::Manifest& manifest);

}  // namespace lambdo::image
