#pragma once

#include <memory>
#include <vector>

#include "base/error.h"
#include "config/config.h"
#include "engine/engine.h"
#include "engine/runner.h"
#include "image/image_services.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"

namespace lambdo::server {

/// Brings the images of a server's languages, in the background: each is fetched or opened, made into what
/// the engine runs from, and its language told to be ready. What fails is logged and tried again, later each
/// time. The images stay in the store for as long as this lives.
class LanguageImages {
 public:
  /// All references outlive it.
  LanguageImages(reactor::Reactor& reactor, const config::Config& config, image::ImageServices& services,
                 engine::Engine& engine, engine::Runner& runner);
  ~LanguageImages();

  /// Once: begins with all languages that have an image, and beside that with what killed processes left in
  /// the store.
  void start();
  /// Waits for the end of the first attempt with this language, and gives what came of it.
  reactor::Task<Result<>> first_attempt(size_t language, reactor::CancelToken token);
  /// Ends what is under way.
  reactor::Task<> stop();

 private:
  class ProgressReport;
  struct Attempt {
    std::optional<Result<>> first;
    std::optional<image::LocalImage> image;  ///< with its lease
  };

  reactor::Task<> bring(size_t index);
  reactor::Task<Result<>> attempt(size_t index, ProgressReport& progress);
  reactor::Task<Result<engine::Language>> made_of(size_t index, const image::PulledImage& pulled,
                                                  ProgressReport& progress);
  reactor::Task<Result<engine::StepUser>> user_of(const image::LocalImage& image, ProgressReport& progress);

  reactor::Reactor& reactor_;
  const config::Config& config_;
  image::ImageServices& services_;
  engine::Engine& engine_;
  engine::Runner& runner_;
  std::vector<Attempt> attempts_;  ///< by language
  reactor::Event attempted_;
  reactor::Scope scope_;
};

}  // namespace lambdo::server
