#pragma once

#include "cli/image_command.h"
#include "cli/image_setup.h"
#include "config/config.h"
#include "image/image_services.h"
#include "reactor/cancel.h"
#include "reactor/task.h"

/// The image commands that bring images into the store.
namespace lambdo::cli {

/// One command with all it works on; outlives its coroutines.
struct ImageCommandWork {
  const ImageCommand& command;
  const ImageOptions& options;
  const config::Config& config;
  image::ImageServices& services;
  reactor::CancelToken token;
};

/// `lambdo image pull`: all images that the command line or the configuration names, one after the other.
/// What fails is told and the others go on; false where anything failed. An error only where nothing can be
/// done or told any more: cancelled, standard output is broken, there is nothing to pull.
reactor::Task<Result<bool>> pull_images(const ImageCommandWork& work);

/// `lambdo image import`.
reactor::Task<Result<>> import_one_image(const ImageCommandWork& work);

}  // namespace lambdo::cli
