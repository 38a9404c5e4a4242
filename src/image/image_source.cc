#include "image/image_source.h"

namespace lambdo::image {

Result<ImageSource> ImageSource::parse(std::string_view text) {
  ImageSource source;
  if (ImagePlace::is_meant_by(text)) {
    source.kind = Kind::place;
    source.place = TRY(ImagePlace::parse(text));
    return source;
  }
  constexpr std::string_view kDocker = "docker://";
  source.reference =
      TRY(registry::Reference::parse(text.starts_with(kDocker) ? text.substr(kDocker.size()) : text));
  return source;
}

std::string ImageSource::text() const {
  return kind == Kind::registry ? reference.familiar() : place.text();
}

}  // namespace lambdo::image
