#pragma once

#include <string>

#include "base/json.h"
#include "image/local_image.h"
#include "image/store/store.h"

/// What the commands about images print. Text for people has nothing in it that a terminal acts on; JSON is
/// exact.
namespace lambdo::cli {

/// A table for people, with a last line about the space that all take. `folder` is the store's.
std::string listing_text(const image::StoreListing& listing, const std::string& folder);
std::string listing_json(const image::StoreListing& listing, const std::string& folder);

/// One image with all that is known of it. `rootfs` is empty where it is not unpacked.
std::string image_text(const image::Name& name, const image::LocalImage& image, const std::string& rootfs);
std::string image_json(const image::Name& name, const image::LocalImage& image, const std::string& rootfs);

std::string prune_text(const image::PruneReport& report);
std::string prune_json(const image::PruneReport& report);

}  // namespace lambdo::cli
