#include "cli/image_command.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/syscalls.h"
#include "cli/image_bring.h"
#include "cli/image_output.h"
#include "cli/image_setup.h"
#include "cli/terminal_text.h"
#include "image/initramfs_writer.h"
#include "image/layouts/transfer.h"
#include "image/stop_flag.h"
#include "image/stored_name.h"

namespace lambdo::cli {

namespace {

using image::CancelToken;
using image::LocalImage;
using reactor::Task;

constexpr std::string_view kInitramfs = "initramfs:";

Result<> list(const ImageCommandWork& work, const std::atomic<bool>& stop) {
  const auto listing = TRY(work.services.store().list(&stop));
  const std::string& folder = work.services.store().folder();
  return print(work.options.settings.json ? listing_json(listing, folder) : listing_text(listing, folder));
}

Result<> inspect(const ImageCommandWork& work) {
  image::Store& store = work.services.store();
  const image::Name name = TRY(image::find_image(store, work.options.images.front()));
  const LocalImage image = TRY(image::load_image(store, name.manifest));
  const std::string rootfs = store.find_rootfs(image.digest).value_or("");
  return print(work.options.settings.json ? image_json(name, image, rootfs)
                                          : image_text(name, image, rootfs));
}

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

Result<> prune(const ImageCommandWork& work, const std::atomic<bool>& stop) {
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
  image::Name name = TRY(image::find_image(store, text));
  LocalImage image = TRY(image::load_image(store, name.manifest));
  return NamedImage{std::move(name), std::move(image)};
}

Task<Result<>> export_initramfs(const ImageCommandWork& work, const LocalImage& image, std::string path) {
  co_return co_await image::write_image_initramfs(
      work.services, image, {.compression = work.options.compression}, std::move(path), work.token);
}

Task<Result<>> export_to_place(const ImageCommandWork& work, const NamedImage& found) {
  auto place = CO_TRY(image::ImagePlace::parse(work.options.destination));
  // A tag in a layout, and a whole reference in an archive.
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

Task<Result<>> export_image(const ImageCommandWork& work) {
  const auto find = [&work] { return find_and_load(work.services.store(), work.options.images.front()); };
  const NamedImage found = CO_TRY(co_await work.services.pool().run(find));
  const std::string& destination = work.options.destination;
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

/// `complete` turns false where a part failed and has been told.
Task<Result<>> run_verb(const ImageCommandWork& work, bool& complete) {
  reactor::BlockingPool& pool = work.services.pool();
  const image::StopFlag stop(work.token);
  switch (work.options.verb) {
    case ImageVerb::pull:
      complete = CO_TRY(co_await pull_images(work));
      co_return Result<>{};
    case ImageVerb::import:
      co_return co_await import_one_image(work);
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

Task<Result<>> run_with(const ImageCommand& command, const ImageOptions& options,
                        const config::Config& config, image::ImageServices& services, CancelToken token,
                        bool& complete) {
  const ImageCommandWork work{command, options, config, services, token};
  co_return co_await run_verb(work, complete);
}

/// Said before the image is looked for: it is the one of two mistakes that needs no store to be found.
Result<> check_destination(const ImageOptions& options) {
  const std::string& destination = options.destination;
  if (options.verb != ImageVerb::export_image || destination.starts_with(kInitramfs)) return {};
  if (image::ImagePlace::is_meant_by(destination)) {
    TRY(image::ImagePlace::parse(destination));
    return {};
  }
  return fail(Code::invalid_argument, "\"" + destination +
                                          "\" is no destination; write oci:FOLDER[:TAG], "
                                          "docker-archive:FILE[:NAME] or initramfs:FILE");
}

/// Only what brings an image makes a store; all else would make one of a folder that was mistyped.
bool makes_store(ImageVerb verb) {
  return verb == ImageVerb::pull || verb == ImageVerb::import;
}

std::string store_folder(const config::Config& config) {
  return std::filesystem::absolute(config.store_folder()).lexically_normal().string();
}

Error no_store(const ImageSettings& settings, const std::string& folder) {
  const std::string origin = !settings.store.empty()         ? "that --store names"
                             : !settings.config_path.empty() ? "of " + settings.config_path
                                                             : "that is used without --config and --store";
  return {Code::not_found, ENOENT,
          "there is no image store in " + folder + ", the folder " + origin +
              "; lambdo image pull, lambdo image import and lambdo serve make one"};
}

/// Without a store: a listing of nothing is true, unless somebody says that the store is there.
int without_store(const ImageCommand& command, ImageVerb verb, const std::string& folder) {
  if (verb != ImageVerb::list || !command.settings.store.empty())
    return report_image_error(command, no_store(command.settings, folder));
  const auto printed = print(command.settings.json ? listing_json({}, folder) : listing_text({}, folder));
  return printed ? kExitOk : report_image_error(command, printed.error());
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
  const ImageCommand command{.name = command_name(options.verb), .settings = options.settings};
  const auto config = image_config(options.settings);
  if (!config) return report_image_error(command, config.error());
  if (const auto checked = check_destination(options); !checked)
    return report_image_error(command, checked.error());
  const std::string folder = store_folder(*config);
  const auto version = sys::lstat(folder + "/" + std::string(image::Store::kVersionFile));
  if (!version) return report_image_error(command, version.error());
  if (!*version && !makes_store(options.verb)) return without_store(command, options.verb, folder);
  bool complete = true;
  const auto work = [&](image::ImageServices& services, CancelToken token) {
    return run_with(command, options, *config, services, token, complete);
  };
  const Leftovers leftovers = options.verb == ImageVerb::prune ? Leftovers::all : Leftovers::briefly;
  const int exit_code = run_image_work(command, *config, work, leftovers);
  return complete ? exit_code : kExitFailure;
}

}  // namespace lambdo::cli
