#include "image/transfer.h"

#include "image/docker_archive.h"
#include "image/oci_layout.h"

namespace lambdo::image {

Result<ImagePlace> ImagePlace::parse(std::string_view text) {
  constexpr std::string_view kOci = "oci:";
  constexpr std::string_view kArchive = "docker-archive:";
  ImagePlace place;
  if (text.starts_with(kOci)) {
    text.remove_prefix(kOci.size());
  } else if (text.starts_with(kArchive)) {
    place.kind = Kind::docker_archive;
    text.remove_prefix(kArchive.size());
  } else {
    return fail(Code::invalid_argument,
                "an image outside of registries is oci:DIR[:TAG] or "
                "docker-archive:FILE[:REFERENCE]");
  }
  const size_t colon = text.find(':');
  place.path = text.substr(0, colon);
  if (colon != std::string_view::npos) place.name = text.substr(colon + 1);
  if (place.path.empty() || place.path.contains('\0')) {
    return fail(Code::invalid_argument, "the path of the image is missing");
  }
  return place;
}

Result<LocalImage> import_image(Store& store, const ImagePlace& from, const Platform& platform,
                                const ImageLimits& limits, const std::atomic<bool>& stop) {
  switch (from.kind) {
    case ImagePlace::Kind::oci_layout:
      return import_oci_layout(store, from.path, from.name, platform, limits, stop);
    case ImagePlace::Kind::docker_archive:
      return import_docker_archive(store, from.path, from.name, platform, limits, stop);
  }
  return fail(Code::internal, "an image from nowhere");
}

Result<> export_image(Store& store, const LocalImage& image, const ImagePlace& to,
                      const std::atomic<bool>& stop) {
  switch (to.kind) {
    case ImagePlace::Kind::oci_layout:
      return export_oci_layout(store, image, to.path, to.name, stop);
    case ImagePlace::Kind::docker_archive:
      return export_docker_archive(store, image, to.path, to.name, stop);
  }
  return fail(Code::internal, "an image to nowhere");
}

}  // namespace lambdo::image
