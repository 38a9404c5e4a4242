#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "cli/image/bring.h"
#include "cli/image/image.h"
#include "cli/terminal_text.h"
#include "image/image_source.h"
#include "image/initramfs_writer.h"
#include "kvm/probe.h"

namespace lambdo::cli {

namespace {

using image::PulledImage;
using reactor::Task;

constexpr const char* kFooter =
    R"(What the store has is not fetched again. Ctrl-C leaves nothing half-made.

Examples:
  lambdo image pull python:3.12-slim node:22-slim
  lambdo image pull --platform linux/arm64 --no-unpack debian:12
  lambdo image pull --plain-http localhost:5000 localhost:5000/team/tool:1
  lambdo image pull --all --config lambdo.yaml         all that the languages name)";

/// What a server with this configuration would take: server::start_helpers() decides the same.
bool runs_on_kvm(const config::Config& config) {
  if (config.vmm.engine != config::EngineChoice::automatic)
    return config.vmm.engine == config::EngineChoice::kvm;
  if (config.vmm.kernel.empty()) return false;
  const auto probe = kvm::probe_kvm();
  return probe && probe->usable();
}

/// Makes what a server of this configuration starts guests from, too.
Task<Result<PulledImage>> bring_for_language(const ImageCommandWork& work, const std::string& text,
                                             bool for_kvm) {
  auto source = CO_TRY(image::ImageSource::parse(text));
  auto pulled = CO_TRY(co_await bring_image(work, std::move(source), {}, work.options.unpack && !for_kvm));
  if (for_kvm && work.options.unpack) {
    const image::InitramfsRequest request = image::store_initramfs();
    CO_TRY(co_await work.services.puller().initramfs(pulled.image, request, nullptr, work.token));
  }
  co_return pulled;
}

Task<Result<PulledImage>> bring_from_registry(const ImageCommandWork& work, const std::string& text) {
  auto source = CO_TRY(image::ImageSource::parse(text));
  if (source.kind != image::ImageSource::Kind::registry)
    co_return fail(Code::invalid_argument, "this is no registry's; take it with lambdo image import");
  co_return co_await bring_image(work, std::move(source), {}, work.options.unpack);
}

/// What --all means: the languages' images, each once.
Result<std::vector<std::string>> images_of_languages(const ImageCommandWork& work) {
  std::vector<std::string> images;
  for (const engine::Language& language : work.config.languages) {
    if (language.image.empty() || std::ranges::find(images, language.image) != images.end()) continue;
    images.push_back(language.image);
  }
  if (images.empty()) {
    return fail(Code::not_found, "no language of " + work.options.settings.config_path + " names an image");
  }
  return images;
}

/// Tells what came of each image, for people at once and in JSON at the end.
class PullReport {
 public:
  explicit PullReport(const ImageCommandWork& work) : work_(&work) {
    json_.begin_object().key("images").begin_array();
  }

  Result<> pulled(const std::string& text, const PulledImage& pulled) {
    write_brought(json_, text, pulled);
    json_.end_object();
    ++pulled_;
    if (work_->options.settings.json) return {};
    return print(terminal_text(text) + " " + pulled.image.digest.text() + "\n");
  }

  void failed(const std::string& text, Error error) {
    error = std::move(error).with_context(text);
    tell_image_error(work_->command, error);
    failed_.push_back({text, std::move(error)});
  }

  /// False where anything failed.
  Result<bool> finish() {
    if (pulled_ > 0) tell_store(*work_);
    if (!work_->options.settings.json) return failed_.empty();
    json_.end_array().field("store", work_->services.store().folder());
    if (!failed_.empty()) write_failed();
    TRY(print(json_.end_object().take() + "\n"));
    return failed_.empty();
  }

 private:
  struct Failure {
    std::string image;
    Error error;
  };

  void write_failed() {
    json_.key("error").begin_object();  // the first, where every command has it
    write_image_error(json_, work_->command, failed_.front().error);
    json_.end_object().key("errors").begin_array();
    for (const Failure& failure : failed_) {
      json_.begin_object().field("name", failure.image);
      write_image_error(json_, work_->command, failure.error);
      json_.end_object();
    }
    json_.end_array();
  }

  const ImageCommandWork* work_;
  JsonWriter json_;
  size_t pulled_ = 0;
  std::vector<Failure> failed_;
};

Task<Result<bool>> pull_images(const ImageCommandWork& work) {
  const bool all = work.options.all;
  const bool for_kvm = all && runs_on_kvm(work.config);
  const std::vector<std::string> images = all ? CO_TRY(images_of_languages(work)) : work.options.images;
  PullReport report(work);
  for (const std::string& text : images) {
    auto pulled =
        all ? co_await bring_for_language(work, text, for_kvm) : co_await bring_from_registry(work, text);
    if (work.token.cancelled()) co_return fail(Code::cancelled, "interrupted");
    if (pulled) {
      CO_TRY(report.pulled(text, *pulled));
    } else {
      report.failed(text, std::move(pulled).error());
    }
  }
  co_return report.finish();
}

void add_options(CLI::App& verb, ImageOptions& options) {
  CLI::Option* images = verb.add_option("IMAGE", options.images, "References of images");
  verb.add_flag("--all", options.all, "Those of the configuration's languages")
      ->needs(verb.get_option("--config"))
      ->excludes(images);
  add_no_unpack(verb, options);
}

}  // namespace

constexpr ImageVerb kImagePull = {.name = "pull",
                                  .description = "Fetch images from registries",
                                  .footer = kFooter,
                                  .uses_registries = true,
                                  .makes_store = true,
                                  .add_options = add_options,
                                  .run = pull_images};

}  // namespace lambdo::cli
