#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "cli/image/remedy.h"
#include "cli/image/settings.h"
#include "config/config.h"
#include "image/image_services.h"
#include "reactor/cancel.h"
#include "reactor/task.h"

/// What the commands about images share.
namespace lambdo::cli {

/// The configuration that `settings` names, or one without languages, with what the command line says over
/// it.
Result<config::Config> image_config(const ImageSettings& settings);

/// Who tells of errors, and how.
struct ImageCommand {
  std::string name;  ///< "image pull"
  ImageSettings settings;
  StoreKind store = StoreKind::kept;
};

/// What a command does once everything is there. The references outlive it.
using ImageWork =
    std::function<reactor::Task<Result<>>(image::ImageServices& services, reactor::CancelToken token)>;

/// What killed processes left in the store is removed beside the work. It may be gigabytes.
enum class Leftovers {
  briefly,  ///< for a moment longer than the work takes: the next command goes on with it
  all
};

/// Runs `work` on a reactor of its own, cancelled by SIGINT and SIGTERM, and gives the process's exit code.
/// An error is told on standard error with what to do about it, and with `settings.json` on standard output.
int run_image_work(const ImageCommand& command, const config::Config& config, const ImageWork& work,
                   Leftovers leftovers = Leftovers::briefly);

/// Tells an error on standard error, with what to do about it.
void tell_image_error(const ImageCommand& command, const Error& error);
/// The members code, message and remedy.
void write_image_error(JsonWriter& json, const ImageCommand& command, const Error& error);

/// Tells an error as `run_image_work` does; gives the exit code.
int report_image_error(const ImageCommand& command, const Error& error);

/// Writes to standard output.
Result<> print(const std::string& text);

}  // namespace lambdo::cli
