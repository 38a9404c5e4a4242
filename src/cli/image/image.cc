#include "cli/image/image.h"

#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <utility>

#include "base/files.h"
#include "base/syscalls.h"
#include "cli/exit_codes.h"
#include "cli/image/output.h"

namespace lambdo::cli {

namespace {

constexpr const char* kImageExamples =
    R"(An IMAGE is a registry's (python:3.12-slim, ghcr.io/a/b@sha256:...), oci:FOLDER[:TAG] or docker-archive:FILE[:NAME].
The store is the one of --config, else /var/lib/lambdo/images; --store names another.

Examples:
  lambdo image pull python:3.12-slim
  lambdo image pull --all --config lambdo.yaml
  lambdo image import oci:build/images/python --name my/python:1
  lambdo image ls
  lambdo image export python:3.12-slim docker-archive:python.tar

Exit codes: 0 ok, 1 failure, 2 wrong usage, 130 interrupted.)";

constexpr std::array kVerbs = {&kImagePull, &kImageImport, &kImageLs,    &kImageInspect,
                               &kImageRm,   &kImagePrune,  &kImageExport};

reactor::Task<Result<>> run_verb(const ImageCommand& command, const ImageOptions& options,
                                 const config::Config& config, image::ImageServices& services,
                                 reactor::CancelToken token, bool& complete) {
  const ImageCommandWork work{command, options, config, services, token};
  complete = CO_TRY(co_await options.verb->run(work));
  co_return Result<>{};
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
int without_store(const ImageCommand& command, const ImageVerb& verb, const std::string& folder) {
  if (&verb != &kImageLs || !command.settings.store.empty())
    return report_image_error(command, no_store(command.settings, folder));
  const auto printed = print(command.settings.json ? listing_json({}, folder) : listing_text({}, folder));
  return printed ? kExitOk : report_image_error(command, printed.error());
}

}  // namespace

void add_one_image(CLI::App& verb, ImageOptions& options, const char* name, const char* description) {
  verb.add_option_function<std::string>(
          name, [&options](const std::string& text) { options.images = {text}; }, description)
      ->required();
}

void add_no_unpack(CLI::App& verb, ImageOptions& options) {
  verb.add_flag_callback(
      "--no-unpack", [&options] { options.unpack = false; },
      "Only fetch: a server with the namespace engine would unpack it");
}

CLI::App* add_image(CLI::App& app, ImageOptions& options) {
  CLI::App* image = app.add_subcommand("image", "Fetch, list and remove the images that guests run from");
  image->require_subcommand(1);
  image->footer(kImageExamples);
  for (const ImageVerb* verb : kVerbs) {
    CLI::App* command = image->add_subcommand(verb->name, verb->description);
    add_image_settings(*command, options.settings, verb->uses_registries);
    if (verb->add_options != nullptr) verb->add_options(*command, options);
    command->footer(verb->footer);
    command->parse_complete_callback([&options, verb] { options.verb = verb; });
  }
  return image;
}

int run_image(const ImageOptions& options) {
  const ImageVerb& verb = *options.verb;
  const ImageCommand command{.name = std::string("image ") + verb.name, .settings = options.settings};
  const auto config = image_config(options.settings);
  if (!config) return report_image_error(command, config.error());
  if (verb.check != nullptr) {
    if (const auto checked = verb.check(options); !checked)
      return report_image_error(command, checked.error());
  }
  const std::string folder = store_folder(*config);
  const auto version = sys::lstat(folder + "/" + std::string(image::Store::kVersionFile));
  if (!version) return report_image_error(command, version.error());
  if (!*version && !verb.makes_store) return without_store(command, verb, folder);
  bool complete = true;
  const auto work = [&](image::ImageServices& services, reactor::CancelToken token) {
    return run_verb(command, options, *config, services, token, complete);
  };
  const int exit_code = run_image_work(command, *config, work, verb.leftovers);
  return complete ? exit_code : kExitFailure;
}

}  // namespace lambdo::cli
