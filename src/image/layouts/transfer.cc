#include "image/layouts/transfer.h"

#include "image/layouts/docker_archive.h"
#include "image/layouts/oci_layout.h"

namespace lambdo::image {

static constexpr std::string_view kOci = "oci:";
static constexpr std::string_view kArchive = "docker-archive:";

bool ImagePlace::is_meant_by(std::string_view text) {
  return text.starts_with(kOci) || text.starts_with(kArchive);
}

Result<ImagePlace> ImagePlace::parse(std::string_view text) {
  const auto wrong = [&](std::string_view problem) {
    return fail(Code::invalid_argument, "\"" + std::string(text) + "\" " + std::string(problem));
  };
  if (!is_meant_by(text)) {
    return wrong(
        "is no place of an image; write oci:FOLDER, oci:FOLDER:TAG, docker-archive:FILE or "
        "docker-archive:FILE:NAME:TAG");
  }
  ImagePlace place;
  place.kind = text.starts_with(kOci) ? Kind::oci_layout : Kind::docker_archive;
  const std::string_view rest = text.substr(text.find(':') + 1);
  const size_t colon = rest.find(':');
  place.path = rest.substr(0, colon);
  if (colon != std::string_view::npos) place.name = rest.substr(colon + 1);
  if (place.path.empty()) {
    return wrong(place.kind == Kind::oci_layout
                     ? "names no folder; write oci:FOLDER or oci:FOLDER:TAG"
                     : "names no file; write docker-archive:FILE or docker-archive:FILE:NAME:TAG");
  }
  if (colon != std::string_view::npos && place.name.empty()) {
    return wrong("ends in a colon; write a tag after it, or leave it out");
  }
  if (place.path.contains('\0')) return wrong("has a zero byte in its path; leave it out");
  return place;
}

std::string ImagePlace::text() const {
  std::string text(kind == Kind::oci_layout ? kOci : kArchive);
  text += path;
  return name.empty() ? text : text + ":" + name;
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

Result<> export_image(Store& store, const LocalImage& image, const ImagePlace& to, const ImageLimits& limits,
                      const std::atomic<bool>& stop) {
  switch (to.kind) {
    case ImagePlace::Kind::oci_layout:
      return export_oci_layout(store, image, to.path, to.name, stop);
    case ImagePlace::Kind::docker_archive:
      return export_docker_archive(store, image, to.path, to.name, limits, stop);
  }
  return fail(Code::internal, "an image to nowhere");
}

}  // namespace lambdo::image
