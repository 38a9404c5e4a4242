#pragma once

#include <string>

#include "base/error.h"
#include "base/json.h"
#include "cli/image/image.h"
#include "image/image_source.h"
#include "image/pull.h"

/// What `image pull` and `image import` share.
namespace lambdo::cli {

/// Brings the image of `source` into the store under `name`, with progress for people.
reactor::Task<Result<image::PulledImage>> bring_image(const ImageCommandWork& work, image::ImageSource source,
                                                      std::string name, bool unpack);

/// Writes name, digest, platform, fetched and rootfs into an object that the caller closes.
void write_brought(JsonWriter& json, const std::string& name, const image::PulledImage& pulled);

/// Tells which store it was: whoever looks for the image later must look into the same one.
void tell_store(const ImageCommandWork& work);

}  // namespace lambdo::cli
