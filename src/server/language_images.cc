#include "server/language_images.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "image/initramfs_writer.h"
#include "reactor/timer.h"
#include "server/image_user.h"

namespace lambdo::server {

using engine::LanguageState;
using reactor::Task;

static constexpr int64_t kFirstRetryMs = 1000;
static constexpr int64_t kLongestRetryMs = 300'000;

/// Tells the runner how far a language's image is.
class LanguageImages::ProgressReport final : public image::Progress {
 public:
  ProgressReport(engine::Runner& runner, size_t language) : runner_(runner), language_(language) {}

  void found(const image::Digest& /*manifest*/, std::span<const image::Descriptor> layers) override {
    done_.assign(layers.size(), 0);
    state_ = {.phase = bringing_};
    for (const image::Descriptor& layer : layers) state_.total_bytes += layer.size_bytes;
    tell();
  }
  void layer(size_t index, image::LayerPhase phase, uint64_t done_bytes, uint64_t total_bytes) override {
    if (index >= done_.size()) return;
    const bool is_there = phase != image::LayerPhase::waiting && phase != image::LayerPhase::fetching;
    const uint64_t done = is_there ? std::max(total_bytes, done_[index]) : done_bytes;
    state_.done_bytes += done - done_[index];
    done_[index] = done;
    if (state_.done_bytes >= state_.total_bytes) state_.phase = LanguageState::Phase::unpacking;
    tell();
  }
  void writing() override { begin(LanguageState::Phase::unpacking); }

  /// How the layers come.
  void begin_bringing(image::ImageSource::Kind kind) {
    bringing_ = kind == image::ImageSource::Kind::registry ? LanguageState::Phase::fetching
                                                           : LanguageState::Phase::importing;
    begin(bringing_);
  }
  void begin(LanguageState::Phase phase) {
    state_.phase = phase;
    tell();
  }

 private:
  void tell() { runner_.set_state(language_, state_); }

  engine::Runner& runner_;
  size_t language_;
  LanguageState::Phase bringing_ = LanguageState::Phase::fetching;
  LanguageState state_;
  std::vector<uint64_t> done_;  // of each layer
};

static image::PullRequest::Policy policy_of(config::Config::Pull pull) {
  switch (pull) {
    case config::Config::Pull::missing:
      return image::PullRequest::Policy::if_missing;
    case config::Config::Pull::always:
      return image::PullRequest::Policy::always;
    case config::Config::Pull::never:
      return image::PullRequest::Policy::never;
  }
  return image::PullRequest::Policy::never;
}

LanguageImages::LanguageImages(reactor::Reactor& reactor, const config::Config& config,
                               image::ImageServices& services, engine::Engine& engine, engine::Runner& runner)
    : reactor_(reactor),
      config_(config),
      services_(services),
      engine_(engine),
      runner_(runner),
      attempts_(config.languages.size()),
      attempted_(reactor),
      scope_(reactor) {}

LanguageImages::~LanguageImages() = default;

void LanguageImages::start() {
  scope_.spawn(services_.remove_leftovers(scope_.token()));
  for (size_t i = 0; i < config_.languages.size(); ++i) {
    if (!config_.languages[i].image.empty()) scope_.spawn(bring(i));
  }
}

Task<Result<>> LanguageImages::first_attempt(size_t language, reactor::CancelToken token) {
  if (config_.languages.at(language).image.empty()) co_return Result<>{};
  while (!attempts_.at(language).first) CO_TRY(co_await attempted_.wait(token));
  co_return *attempts_[language].first;
}

Task<> LanguageImages::bring(size_t index) {
  const engine::Language& language = config_.languages[index];
  const int64_t start_ns = reactor_.now_ns();
  for (int64_t delay_ms = kFirstRetryMs;; delay_ms = std::min(delay_ms * 2, kLongestRetryMs)) {
    ProgressReport progress(runner_, index);
    const Result<> done = co_await attempt(index, progress);
    attempts_[index].first = attempts_[index].first.value_or(done);
    attempted_.notify_all();
    if (done) {
      runner_.set_state(index, {.phase = LanguageState::Phase::ready});
      log::info("language ready", {{"language", language.name},
                                   {"version", language.version},
                                   {"image", language.image},
                                   {"digest", attempts_[index].image->digest.text()},
                                   {"ms", (reactor_.now_ns() - start_ns) / 1'000'000}});
      co_return;
    }
    if (scope_.token().cancelled()) co_return;
    log::error("an image could not be made ready", {{"language", language.name},
                                                    {"image", language.image},
                                                    {"code", code_name(done.error().code)},
                                                    {"error", done.error().message},
                                                    {"retry_ms", delay_ms}});
    runner_.set_state(index, {.phase = LanguageState::Phase::failed, .problem = done.error().message});
    if (!co_await reactor::SleepOp::for_ms(reactor_, delay_ms, scope_.token())) co_return;
  }
}

Task<Result<>> LanguageImages::attempt(size_t index, ProgressReport& progress) {
  const engine::Language& language = config_.languages[index];
  auto source = CO_TRY(image::ImageSource::parse(language.image));
  const bool unpack = engine_.name() == "namespace";
  progress.begin_bringing(source.kind);
  image::PulledImage pulled =
      CO_TRY(co_await services_.bring(std::move(source), {}, config_.registries.platform,
                                      policy_of(config_.images.pull), unpack, &progress, scope_.token()));
  const engine::Language resolved = CO_TRY(co_await made_of(index, pulled, progress));
  CO_TRY(co_await engine_.prepare(index, resolved));
  attempts_[index].image = std::move(pulled.image);
  co_return Result<>{};
}

Task<Result<engine::Language>> LanguageImages::made_of(size_t index, const image::PulledImage& pulled,
                                                       ProgressReport& progress) {
  engine::Language resolved = config_.languages[index];
  if (pulled.rootfs) {
    resolved.rootfs = *pulled.rootfs;
  } else {
    const image::InitramfsRequest request = image::store_initramfs();
    progress.begin(LanguageState::Phase::unpacking);
    resolved.initramfs =
        CO_TRY(co_await services_.puller().initramfs(pulled.image, request, &progress, scope_.token()));
  }
  resolved.environment = step_environment(pulled.image.config, resolved);
  resolved.user = CO_TRY(co_await user_of(pulled.image, progress));
  co_return resolved;
}

Task<Result<engine::StepUser>> LanguageImages::user_of(const image::LocalImage& image,
                                                       ProgressReport& progress) {
  const std::string& user = image.config.user;
  if (!needs_user_files(user)) co_return resolve_user(user, {}, {});
  const std::string rootfs = CO_TRY(co_await services_.puller().rootfs(image, &progress, scope_.token()));
  const auto look_up = [&]() -> Result<engine::StepUser> {
    const std::string passwd = TRY(read_in_rootfs(rootfs, "etc/passwd"));
    return resolve_user(user, passwd, TRY(read_in_rootfs(rootfs, "etc/group")));
  };
  co_return co_await services_.pool().run(look_up);
}

Task<> LanguageImages::stop() {
  scope_.cancel();
  co_await scope_.join();
  attempted_.notify_all();
}

}  // namespace lambdo::server
