#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "cli/image/image.h"
#include "cli/terminal_text.h"
#include "image/stored_name.h"

namespace lambdo::cli {

namespace {

constexpr const char* kFooter =
    R"(Takes the name away; what no name leads to any more goes with the next prune.

Examples:
  lambdo image rm python:3.11-slim && lambdo image prune)";

Result<> remove(const ImageCommandWork& work) {
  image::Store& store = work.services.store();
  // All are looked for first: what is not there must not leave half of the others removed.
  std::vector<image::Name> names;
  for (const std::string& text : work.options.images) {
    image::Name name = TRY(image::find_only_name(store, text));
    if (std::ranges::find(names, name.reference, &image::Name::reference) == names.end()) {
      names.push_back(std::move(name));
    }
  }
  JsonWriter json;
  json.begin_object().key("removed").begin_array();
  for (const image::Name& name : names) {
    TRY(store.remove_name(name.reference));
    json.value(name.reference);
    if (!work.options.settings.json) TRY(print("removed the name " + terminal_text(name.reference) + "\n"));
  }
  if (!work.options.settings.json) return {};
  return print(json.end_array().end_object().take() + "\n");
}

void add_options(CLI::App& verb, ImageOptions& options) {
  verb.add_option("IMAGE", options.images, "Names")->required();
}

reactor::Task<Result<bool>> run(const ImageCommandWork& work) {
  CO_TRY(co_await work.services.pool().run([&work] { return remove(work); }));
  co_return true;
}

}  // namespace

constexpr ImageVerb kImageRm = {.name = "rm",
                                .description = "Remove names from the store",
                                .footer = kFooter,
                                .add_options = add_options,
                                .run = run};

}  // namespace lambdo::cli
