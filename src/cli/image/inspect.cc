#include <string>

#include "cli/image/image.h"
#include "cli/image/output.h"
#include "image/stored_name.h"

namespace lambdo::cli {

namespace {

constexpr const char* kFooter =
    R"(The image by its name, or by its digest or the beginning of it.

Examples:
  lambdo image inspect python:3.12-slim
  lambdo image inspect --json 4f4fb700ef54 | jq .config.env)";

Result<> inspect(const ImageCommandWork& work) {
  image::Store& store = work.services.store();
  const image::Name name = TRY(image::find_image(store, work.options.images.front()));
  const image::LocalImage image = TRY(image::load_image(store, name.manifest));
  const std::string rootfs = store.find_rootfs(image.digest).value_or("");
  return print(work.options.settings.json ? image_json(name, image, rootfs)
                                          : image_text(name, image, rootfs));
}

void add_options(CLI::App& verb, ImageOptions& options) {
  add_one_image(verb, options, "IMAGE", "Name or digest");
}

reactor::Task<Result<bool>> run(const ImageCommandWork& work) {
  CO_TRY(co_await work.services.pool().run([&work] { return inspect(work); }));
  co_return true;
}

}  // namespace

constexpr ImageVerb kImageInspect = {.name = "inspect",
                                     .description = "Show what the store knows of an image",
                                     .footer = kFooter,
                                     .add_options = add_options,
                                     .run = run};

}  // namespace lambdo::cli
