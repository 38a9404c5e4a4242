#include <string>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "cli/image/image.h"
#include "image/image_source.h"
#include "image/initramfs_writer.h"
#include "image/layouts/transfer.h"
#include "image/stop_flag.h"
#include "image/stored_name.h"

namespace lambdo::cli {

namespace {

constexpr const char* kFooter =
    R"(A DESTINATION is oci:FOLDER[:TAG], docker-archive:FILE[:NAME] or initramfs:FILE (a newc archive of the root file system).

Examples:
  lambdo image export python:3.12-slim oci:layouts:3.12
  lambdo image export python:3.12-slim docker-archive:python.tar:python:3.12-slim
  lambdo image export python:3.12-slim initramfs:python.img --compression zstd)";

constexpr std::string_view kInitramfs = "initramfs:";

/// Checked before the store is opened; whether the image exists is checked after.
Result<> check_destination(const ImageOptions& options) {
  const std::string& destination = options.destination;
  if (destination.starts_with(kInitramfs)) return {};
  if (image::ImagePlace::is_meant_by(destination)) {
    TRY(image::ImagePlace::parse(destination));
    return {};
  }
  return fail(Code::invalid_argument, "\"" + destination +
                                          "\" is no destination; write oci:FOLDER[:TAG], "
                                          "docker-archive:FILE[:NAME] or initramfs:FILE");
}

/// An image to export, under the name that was meant.
struct NamedImage {
  image::Name name;
  image::LocalImage image;
};

Result<NamedImage> find_and_load(image::Store& store, const std::string& text) {
  image::Name name = TRY(image::find_image(store, text));
  image::LocalImage image = TRY(image::load_image(store, name.manifest));
  return NamedImage{std::move(name), std::move(image)};
}

reactor::Task<Result<>> export_initramfs(const ImageCommandWork& work, const image::LocalImage& image,
                                         std::string path) {
  co_return co_await image::write_image_initramfs(
      work.services, image, {.compression = work.options.compression}, std::move(path), work.token);
}

reactor::Task<Result<>> export_to_place(const ImageCommandWork& work, const NamedImage& found) {
  auto place = CO_TRY(image::ImagePlace::parse(work.options.destination));
  // Without a name in DESTINATION an archive's image keeps its reference; a layout gets no tag.
  if (place.name.empty() && place.kind == image::ImagePlace::Kind::docker_archive) {
    if (const auto source = image::ImageSource::parse(found.name.reference);
        source && source->kind == image::ImageSource::Kind::registry)
      place.name = source->reference.familiar();
  }
  const image::StopFlag stop(work.token);
  const auto write = [&] {
    return image::export_image(work.services.store(), found.image, place, work.services.limits(),
                               stop.flag());
  };
  co_return co_await work.services.pool().run(write);
}

reactor::Task<Result<bool>> export_image(const ImageCommandWork& work) {
  const auto find = [&work] { return find_and_load(work.services.store(), work.options.images.front()); };
  const NamedImage found = CO_TRY(co_await work.services.pool().run(find));
  const std::string& destination = work.options.destination;
  if (destination.starts_with(kInitramfs)) {
    CO_TRY(co_await export_initramfs(work, found.image, destination.substr(kInitramfs.size())));
  } else {
    CO_TRY(co_await export_to_place(work, found));
  }
  if (!work.options.settings.json) co_return true;
  JsonWriter json;
  json.begin_object().field("name", found.name.reference).field("digest", found.image.digest.text());
  CO_TRY(print(json.field("destination", destination).end_object().take() + "\n"));
  co_return true;
}

void add_options(CLI::App& verb, ImageOptions& options) {
  add_one_image(verb, options, "IMAGE", "Name or digest");
  verb.add_option("DESTINATION", options.destination,
                  "oci:FOLDER[:TAG], docker-archive:FILE[:NAME] or initramfs:FILE")
      ->required();
  add_compression(verb, options.compression, "none");
}

}  // namespace

constexpr ImageVerb kImageExport = {.name = "export",
                                    .description = "Write an image of the store elsewhere",
                                    .footer = kFooter,
                                    .add_options = add_options,
                                    .check = check_destination,
                                    .run = export_image};

}  // namespace lambdo::cli
