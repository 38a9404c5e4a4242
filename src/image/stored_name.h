#pragma once

#include <string>

#include "base/error.h"
#include "image/image_source.h"
#include "image/store/store.h"

/// What people write for an image of the store: a name as it is there or as one writes it, a digest, or at
/// least the first six digits of one. All block.
namespace lambdo::image {

/// The name under which an image goes in the store where nobody gives it another one.
std::string store_name(const ImageSource& source);

/// A name of the image that is meant. not_found where the store has none; invalid_argument where it is the
/// beginning of several digests, with all that it may mean.
Result<Name> find_image(Store& store, const std::string& text);

/// The same for whoever means the name and not the image: where a digest has several names,
/// invalid_argument lists them.
Result<Name> find_only_name(Store& store, const std::string& text);

}  // namespace lambdo::image
