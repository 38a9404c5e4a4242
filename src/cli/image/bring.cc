#include "cli/image/bring.h"

#include <cstdio>
#include <utility>

#include "cli/image/pull_display.h"
#include "cli/terminal_text.h"

namespace lambdo::cli {

/// Progress is for people: whoever asks for JSON wants none.
static PullDisplay::Style style_of(const ImageSettings& settings) {
  return settings.json || settings.quiet ? PullDisplay::Style::none : PullDisplay::style_for_standard_error();
}

void write_brought(JsonWriter& json, const std::string& name, const image::PulledImage& pulled) {
  json.begin_object().field("name", name).field("digest", pulled.image.digest.text());
  json.field("platform", pulled.image.config.platform.text()).field("fetched", pulled.fetched_anything);
  json.key("rootfs");
  if (pulled.rootfs) {
    json.value(*pulled.rootfs);
  } else {
    json.null();
  }
}

reactor::Task<Result<image::PulledImage>> bring_image(const ImageCommandWork& work, image::ImageSource source,
                                                      std::string name, bool unpack) {
  PullDisplay display(source.text(), style_of(work.options.settings));
  auto pulled =
      co_await work.services.bring(std::move(source), std::move(name), work.config.registries.platform,
                                   image::PullRequest::Policy::always, unpack, &display, work.token);
  display.finish();
  co_return pulled;
}

void tell_store(const ImageCommandWork& work) {
  if (work.options.settings.json || work.options.settings.quiet) return;
  std::fprintf(stderr, "in the store %s\n", terminal_text(work.services.store().folder()).c_str());
}

}  // namespace lambdo::cli
