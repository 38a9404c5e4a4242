#include "cli/image_command.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/syscalls.h"
#include "cli/image_output.h"
#include "cli/image_setup.h"
#include "cli/initramfs_writer.h"
#include "cli/pull_display.h"
#include "cli/stored_name.h"
#include "cli/terminal_text.h"
#include "image/stop_flag.h"
#include "image/transfer.h"
#include "kvm/probe.h"

namespace lambdo::cli {

namespace {

using image::CancelToken;
using image::LocalImage;
using image::PulledImage;
using reactor::Task;

/// One command with all it works on; outlives its coroutines.
struct Work {
  const ImageOptions& options;
  const Config& config;
  ImageServices& services;
  CancelToken token;
};

/// Progress is for people: whoever asks for JSON wants none.
PullDisplay::Style style_of(const ImageSettings& settings) {
  return settings.json || settings.quiet ? PullDisplay::Style::none : PullDisplay::style_for_standard_error();
}

void write_pulled(JsonWriter& json, const std::string& name, const PulledImage& pulled) {
  json.begin_object().field("name", name).field("digest", pulled.image.digest.text());
  json.field("platform", pulled.image.config.platform.text()).field("fetched", pulled.fetched_anything);
  json.key("rootfs");
  if (pulled.rootfs) {
    json.value(*pulled.rootfs);
  } else {
    json.null();
  }
  json.end_object();
}

Task<Result<PulledImage>> bring_one(const Work& work, ImageSource source, std::string name, bool unpack) {
  PullDisplay display(source.text(), style_of(work.options.settings));
  auto pulled =
      co_await work.services.bring(std::move(source), std::move(name), work.config.registries.platform,
                                   image::PullRequest::Policy::always, unpack, &display, work.token);
  display.finish();
  co_return pulled;
}

/// What a server with this configuration would take: lay_foundation() decides the same.
bool runs_on_kvm(const Config& config) {
  if (config.vmm.engine != EngineChoice::automatic) return config.vmm.engine == EngineChoice::kvm;
  if (config.vmm.kernel.empty()) return false;
  const auto probe = kvm::probe_kvm();
  return probe && probe->usable();
}

/// Makes what a server of this configuration starts guests from, too.
Task<Result<>> bring_for_languages(const Work& work, JsonWriter& json) {
  const bool for_kvm = runs_on_kvm(work.config);
  const auto has_image = [](const engine::Language& language) { return !language.image.empty(); };
  if (std::ranges::none_of(work.config.languages, has_image))
    co_return fail(Code::not_found,
                   "no language of " + work.options.settings.config_path + " names an image");
  for (const engine::Language& language : work.config.languages) {
    if (!has_image(language)) continue;
    auto source = CO_TRY(ImageSource::parse(language.image));
    const std::string text = source.text();
    auto pulled = co_await bring_one(work, std::move(source), {}, work.options.unpack && !for_kvm);
    if (!pulled) co_return std::unexpected(std::move(pulled).error().with_context(text));
    if (for_kvm && work.options.unpack) {
      const image::InitramfsRequest request = store_initramfs();
      CO_TRY(co_await work.services.puller().initramfs(pulled->image, request, nullptr, work.token));
    }
    write_pulled(json, text, *pulled);
    if (!work.options.settings.json)
      CO_TRY(print(terminal_text(text) + " " + pulled->image.digest.text() + "\n"));
  }
  co_return Result<>{};
}

Task<Result<>> pull(const Work& work) {
  JsonWriter json;
  json.begin_object().key("images").begin_array();
  if (work.options.all) CO_TRY(co_await bring_for_languages(work, json));
  for (const std::string& text : work.options.images) {
    auto source = CO_TRY(ImageSource::parse(text));
    if (source.kind != ImageSource::Kind::registry)
      co_return fail(Code::invalid_argument, text + " is no registry's; take it with lambdo image import");
    auto pulled = co_await bring_one(work, std::move(source), {}, work.options.unpack);
    if (!pulled) co_return std::unexpected(std::move(pulled).error().with_context(text));
    write_pulled(json, text, *pulled);
    if (!work.options.settings.json)
      CO_TRY(print(terminal_text(text) + " " + pulled->image.digest.text() + "\n"));
  }
  if (!work.options.settings.json) co_return Result<>{};
  co_return print(json.end_array().end_object().take() + "\n");
}

Task<Result<>> import(const Work& work) {
  const std::string& text = work.options.images.front();
  auto source = CO_TRY(ImageSource::parse(text));
  if (source.kind == ImageSource::Kind::registry) {
    co_return fail(Code::invalid_argument,
                   text +
                       " is a registry's; fetch it with lambdo image pull, or write oci:FOLDER or "
                       "docker-archive:FILE");
  }
  std::string name = store_name(source);
  if (!work.options.name.empty()) {
    auto reference = registry::Reference::parse(work.options.name);
    if (!reference) co_return std::unexpected(std::move(reference).error().with_context("--name"));
    name = reference->text();
  }
  auto pulled = co_await bring_one(work, std::move(source), name, work.options.unpack);
  if (!pulled) co_return std::unexpected(std::move(pulled).error().with_context(text));
  if (!work.options.settings.json)
    co_return print(terminal_text(name) + " " + pulled->image.digest.text() + "\n");
  JsonWriter json;
  write_pulled(json, name, *pulled);
  co_return print(json.take() + "\n");
}

Result<> list(const Work& work, const std::atomic<bool>& stop) {
  const auto listing = TRY(work.services.store().list(&stop));
  return print(work.options.settings.json ? listing_json(listing) : listing_text(listing));
}

Result<> inspect(const Work& work) {
  image::Store& store = work.services.store();
  const image::Name name = TRY(find_image(store, work.options.images.front()));
  const LocalImage image = TRY(image::load_image(store, name.manifest));
  const std::string rootfs = store.find_rootfs(image.digest).value_or("");
  return print(work.options.settings.json ? image_json(name, image, rootfs)
                                          : image_text(name, image, rootfs));
}

Result<> remove(const Work& work) {
  image::Store& store = work.services.store();
  // All are looked for first: what is not there must not leave half of the others removed.
  std::vector<image::Name> names;
  for (const std::string& text : work.options.images) {
    image::Name name = TRY(find_only_name(store, text));
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

Result<> prune(const Work& work, const std::atomic<bool>& stop) {
  constexpr int kWaitMs = 10'000;
  const auto report = TRY(work.services.store().prune(kWaitMs, &stop));
  return print(work.options.settings.json ? prune_json(report) : prune_text(report));
}

/// An image to export, under the name that was meant.
struct NamedImage {
  image::Name name;
  LocalImage image;
};

Result<NamedImage> find_and_load(image::Store& store, const std::string& text) {
  image::Name name = TRY(find_image(store, text));
  LocalImage image = TRY(image::load_image(store, name.manifest));
  return NamedImage{std::move(name), std::move(image)};
}

Task<Result<>> export_initramfs(const Work& work, const LocalImage& image, std::string path) {
  co_return co_await write_image_initramfs(work.services, image, {.compression = work.options.compression},
                                           std::move(path), work.token);
}

Task<Result<>> export_to_place(const Work& work, const NamedImage& found) {
  auto place = CO_TRY(image::ImagePlace::parse(work.options.destination));
  // A tag in a layout, and a whole reference in an archive.
  if (place.name.empty() && place.kind == image::ImagePlace::Kind::docker_archive) {
    if (const auto source = ImageSource::parse(found.name.reference);
        source && source->kind == ImageSource::Kind::registry)
      place.name = source->reference.familiar();
  }
  const image::StopFlag stop(work.token);
  const auto write = [&] {
    return image::export_image(work.services.store(), found.image, place, work.services.limits(),
                               stop.flag());
  };
  co_return co_await work.services.pool().run(write);
}

Task<Result<>> export_image(const Work& work) {
  const auto find = [&work] { return find_and_load(work.services.store(), work.options.images.front()); };
  const NamedImage found = CO_TRY(co_await work.services.pool().run(find));
  const std::string& destination = work.options.destination;
  constexpr std::string_view kInitramfs = "initramfs:";
  if (destination.starts_with(kInitramfs)) {
    CO_TRY(co_await export_initramfs(work, found.image, destination.substr(kInitramfs.size())));
  } else {
    CO_TRY(co_await export_to_place(work, found));
  }
  if (!work.options.settings.json) co_return Result<>{};
  JsonWriter json;
  json.begin_object().field("name", found.name.reference).field("digest", found.image.digest.text());
  co_return print(json.field("destination", destination).end_object().take() + "\n");
}

Task<Result<>> run_verb(const Work& work) {
  reactor::BlockingPool& pool = work.services.pool();
  const image::StopFlag stop(work.token);
  switch (work.options.verb) {
    case ImageVerb::pull:
      co_return co_await pull(work);
    case ImageVerb::import:
      co_return co_await import(work);
    case ImageVerb::list:
      co_return co_await pool.run([&] { return list(work, stop.flag()); });
    case ImageVerb::inspect:
      co_return co_await pool.run([&work] { return inspect(work); });
    case ImageVerb::remove:
      co_return co_await pool.run([&work] { return remove(work); });
    case ImageVerb::prune:
      co_return co_await pool.run([&] { return prune(work, stop.flag()); });
    case ImageVerb::export_image:
      co_return co_await export_image(work);
  }
  co_return Result<>{};
}

Task<Result<>> run_with(const ImageOptions& options, const Config& config, ImageServices& services,
                        CancelToken token) {
  const Work work{options, config, services, token};
  co_return co_await run_verb(work);
}

const char* command_name(ImageVerb verb) {
  switch (verb) {
    case ImageVerb::pull:
      return "image pull";
    case ImageVerb::import:
      return "image import";
    case ImageVerb::list:
      return "image ls";
    case ImageVerb::inspect:
      return "image inspect";
    case ImageVerb::remove:
      return "image rm";
    case ImageVerb::prune:
      return "image prune";
    case ImageVerb::export_image:
      return "image export";
  }
  return "image";
}

}  // namespace

int image_command(const ImageOptions& options) {
  const char* command = command_name(options.verb);
  const auto config = image_config(options.settings);
  if (!config) return report_image_error(command, options.settings, config.error());
  const auto work = [&](ImageServices& services, CancelToken token) {
    return run_with(options, *config, services, token);
  };
  const Leftovers leftovers = options.verb == ImageVerb::prune ? Leftovers::all : Leftovers::briefly;
  return run_image_work(command, options.settings, *config, work, leftovers);
}

}  // namespace lambdo::cli
