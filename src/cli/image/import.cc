#include <string>
#include <utility>

#include "base/json.h"
#include "cli/image/bring.h"
#include "cli/image/image.h"
#include "cli/terminal_text.h"
#include "image/image_source.h"
#include "image/stored_name.h"
#include "registry/reference.h"

namespace lambdo::cli {

namespace {

constexpr const char* kFooter = R"(Examples:
  lambdo image import oci:build/images/python
  lambdo image import oci:layouts:1.2 --name team/tool:1.2
  lambdo image import docker-archive:saved.tar --json | jq -r .digest)";

reactor::Task<Result<bool>> import_one_image(const ImageCommandWork& work) {
  const std::string& text = work.options.images.front();
  auto source = CO_TRY(image::ImageSource::parse(text));
  if (source.kind == image::ImageSource::Kind::registry) {
    co_return fail(Code::invalid_argument, text +
                                               " is a registry's; fetch it with lambdo image pull, "
                                               "or write oci:FOLDER or "
                                               "docker-archive:FILE");
  }
  std::string name = image::store_name(source);
  if (!work.options.name.empty()) {
    auto reference = registry::Reference::parse(work.options.name);
    if (!reference) co_return std::unexpected(std::move(reference).error().with_context("--name"));
    name = reference->text();
  }
  auto pulled = co_await bring_image(work, std::move(source), name, work.options.unpack);
  if (!pulled) co_return std::unexpected(std::move(pulled).error().with_context(text));
  if (!work.options.settings.json) {
    CO_TRY(print(terminal_text(name) + " " + pulled->image.digest.text() + "\n"));
    tell_store(work);
    co_return true;
  }
  JsonWriter json;
  write_brought(json, name, *pulled);
  CO_TRY(print(json.field("store", work.services.store().folder()).end_object().take() + "\n"));
  co_return true;
}

void add_options(CLI::App& verb, ImageOptions& options) {
  add_one_image(verb, options, "SOURCE", "oci:FOLDER[:TAG] or docker-archive:FILE[:NAME]");
  verb.add_option("--name", options.name, "The name it gets: a reference")->type_name("REF");
  add_no_unpack(verb, options);
}

}  // namespace

constexpr ImageVerb kImageImport = {.name = "import",
                                    .description = "Take an image from an OCI layout or a docker archive",
                                    .footer = kFooter,
                                    .uses_registries = true,
                                    .makes_store = true,
                                    .add_options = add_options,
                                    .run = import_one_image};

}  // namespace lambdo::cli
