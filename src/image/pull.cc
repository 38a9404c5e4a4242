#include "image/pull.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "image/async_semaphore.h"
#include "image/blob_fetcher.h"
#include "image/unpack.h"
#include "reactor/scope.h"
#include "registry/platform.h"

namespace lambdo::image {

namespace {

constexpr int64_t kProgressIntervalNs = 100'000'000;

int64_t seconds_since_1970() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// The first error of several coroutines that work on one thing; the others are cancelled then.
class FirstError {
 public:
  explicit FirstError(reactor::Scope& scope) : scope_(&scope) {}
  void note(Result<> result) {
    if (result) return;
    if (!error_) error_ = std::move(result).error();
    scope_->cancel();
  }
  [[nodiscard]] Result<> result() && {
    if (error_) return std::unexpected(std::move(*error_));
    return {};
  }

 private:
  reactor::Scope* scope_;
  std::optional<Error> error_;
};

}  // namespace

class Puller::Work {
 public:
  Work(reactor::Reactor& reactor, reactor::BlockingPool& pool, registry::Client& client, Store& store,
       PullSettings settings)
      : reactor_(&reactor),
        pool_(&pool),
        client_(&client),
        store_(&store),
        settings_(settings),
        blobs_(reactor, pool, client, store, settings.max_downloads),
        unpacks_(reactor, settings.max_unpacks),
        making_(reactor) {}

  Task<Result<PulledImage>> pull(PullRequest request, Progress* progress, CancelToken token);
  Task<Result<LocalImage>> load(Digest manifest, CancelToken token);
  Task<Result<std::string>> rootfs(const LocalImage& image, Progress* progress, CancelToken token);
  Task<Result<std::string>> initramfs(const LocalImage& image, const InitramfsRequest& request,
                                      Progress* progress, CancelToken token);

 private:
  /// What the coroutines of one pull's layers share.
  struct Layers {
    const LocalImage* image;
    const Reference* reference;  ///< null: all blobs are in the store
    Progress* progress;
    Unpacking* unpacking;  ///< null: only fetched
    FirstError* error;
    CancelToken token;
    bool fetched_anything = false;
  };

  Task<Result<std::optional<LocalImage>>> find_local(const PullRequest& request, CancelToken token);
  Task<Result<LocalImage>> fetch_head(const PullRequest& request, CancelToken token);
  Task<Result<ImageConfig>> fetch_config(const PullRequest& request, const registry::Manifest& manifest,
                                         CancelToken token);
  Task<Result<>> bring_rest(const PullRequest& request, bool is_local, PulledImage& pulled,
                            Progress* progress, CancelToken token);
  Task<Result<>> bring_layers(Layers& layers, CancelToken token);
  Task<> bring_layer(Layers& layers, size_t index);
  Task<Result<>> fetch_layer(Layers& layers, size_t index);
  Task<Result<>> add_layer(Layers& layers, size_t index);
  Task<Result<std::string>> unpack(const LocalImage& image, const Reference* reference, Progress* progress,
                                   bool& fetched_anything, CancelToken token);
  Task<Result<std::string>> unpack_locked(const LocalImage& image, const Reference* reference,
                                          Progress* progress, bool& fetched_anything, CancelToken token);
  Task<Result<std::string>> initramfs_locked(const LocalImage& image, const InitramfsRequest& request,
                                             Progress* progress, CancelToken token);

  reactor::Reactor* reactor_;
  reactor::BlockingPool* pool_;
  registry::Client* client_;
  Store* store_;
  PullSettings settings_;
  BlobFetcher blobs_;
  Semaphore unpacks_;
  KeyedSemaphore making_;  ///< root file systems and boot archives that are being made
};

Task<Result<LocalImage>> Puller::Work::load(Digest manifest, CancelToken /*token*/) {
  co_return co_await pool_->run([&] { return load_image(*store_, manifest); });
}

/// What the store has under the reference; nullopt where it is nothing, not whole, or for another machine.
Task<Result<std::optional<LocalImage>>> Puller::Work::find_local(const PullRequest& request,
                                                                 CancelToken token) {
  const auto name = CO_TRY(co_await pool_->run([&] { return store_->find_name(request.reference.text()); }));
  if (!name || !registry::same_machine(name->platform, request.platform)) co_return std::nullopt;
  auto image = co_await load(name->manifest, token);
  if (image) co_return std::move(*image);
  const Code code = image.error().code;
  if (code == Code::not_found || code == Code::store_invalid) co_return std::nullopt;
  co_return std::unexpected(std::move(image).error());
}

/// The manifest and the configuration from the registry, under a lease before anything else of the image is
/// put into the store or counted on.
Task<Result<LocalImage>> Puller::Work::fetch_head(const PullRequest& request, CancelToken token) {
  auto fetched = CO_TRY(co_await client_->fetch_manifest(request.reference, request.platform, token));
  CO_TRY(check_limits(fetched.manifest, settings_.limits));
  const Descriptor& config = fetched.manifest.config;
  if (config.size_bytes > ImageConfig::kMaxBytes) {
    co_return fail(Code::image_too_large,
                   "the image's configuration has " + std::to_string(config.size_bytes) + " bytes");
  }
  auto lease = CO_TRY(co_await pool_->run([&]() -> Result<Lease> {
    auto held = TRY(store_->lease(fetched.digest));
    TRY(store_->put_blob(fetched.json, fetched.digest));
    return held;
  }));
  auto parsed = co_await fetch_config(request, fetched.manifest, token);
  if (!parsed) {
    co_await release(*pool_, std::move(lease));
    co_return std::unexpected(std::move(parsed).error());
  }
  co_return LocalImage{.digest = fetched.digest,
                       .manifest = std::move(fetched.manifest),
                       .config = std::move(*parsed),
                       .lease = std::move(lease)};
}

Task<Result<ImageConfig>> Puller::Work::fetch_config(const PullRequest& request,
                                                     const registry::Manifest& manifest, CancelToken token) {
  for (bool again = false;; again = true) {
    CO_TRY(co_await blobs_.ensure(request.reference, manifest.config, {}, token));
    const auto json = co_await pool_->run(
        [&] { return store_->read_blob(manifest.config.digest, ImageConfig::kMaxBytes); });
    // The one that was in the store was damaged, and is out of the way now.
    if (!json && json.error().code == Code::store_invalid && !again) continue;
    if (!json) co_return std::unexpected(json.error());
    auto parsed = CO_TRY(ImageConfig::parse(*json, manifest.layers.size()));
    if (!registry::same_machine(parsed.platform, request.platform)) {
      co_return registry::platform_missing(request.platform, {parsed.platform});
    }
    co_return parsed;
  }
}

Task<Result<>> Puller::Work::fetch_layer(Layers& layers, size_t index) {
  const Descriptor& blob = layers.image->manifest.layers[index];
  Progress* progress = layers.progress;
  if (progress != nullptr) progress->layer(index, LayerPhase::waiting, 0, blob.size_bytes);
  BlobFetcher::Told told;
  if (progress != nullptr) {
    told = [reactor = reactor_, progress, index, total = blob.size_bytes,
            next_ns = int64_t{0}](uint64_t done) mutable {
      const int64_t now_ns = reactor->now_ns();
      if (now_ns < next_ns && done < total) return;
      next_ns = now_ns + kProgressIntervalNs;
      progress->layer(index, LayerPhase::fetching, done, total);
    };
  }
  const bool fetched = CO_TRY(co_await blobs_.ensure(*layers.reference, blob, std::move(told), layers.token));
  if (fetched) layers.fetched_anything = true;
  if (progress != nullptr) progress->layer(index, LayerPhase::fetched, blob.size_bytes, blob.size_bytes);
  co_return Result<>();
}

Task<Result<>> Puller::Work::add_layer(Layers& layers, size_t index) {
  co_return co_await layers.unpacking->add(index, layers.image->manifest.layers[index],
                                           layers.image->config.diff_ids[index], layers.token);
}

Task<> Puller::Work::bring_layer(Layers& layers, size_t index) {
  for (bool again = false;; again = true) {
    Result<> brought;
    if (layers.reference != nullptr) brought = co_await fetch_layer(layers, index);
    if (brought && layers.unpacking != nullptr) brought = co_await add_layer(layers, index);
    // A blob that was found damaged is fetched again, where there is a registry to ask.
    const bool damaged = !brought && brought.error().code == Code::store_invalid;
    if (damaged && layers.reference != nullptr && !again) continue;
    layers.error->note(std::move(brought));
    co_return;
  }
}

Task<Result<>> Puller::Work::bring_layers(Layers& layers, CancelToken token) {
  reactor::Scope scope(*reactor_, token);
  FirstError error(scope);
  layers.error = &error;
  layers.token = scope.token();
  for (size_t i = 0; i < layers.image->manifest.layers.size(); ++i) scope.spawn(bring_layer(layers, i));
  co_await scope.join();
  co_return std::move(error).result();
}

/// Makes the root file system while the layers come, unless it is there or comes to be meanwhile.
Task<Result<std::string>> Puller::Work::unpack(const LocalImage& image, const Reference* reference,
                                               Progress* progress, bool& fetched_anything,
                                               CancelToken token) {
  const std::string key = "rootfs-" + image.digest.hex();
  const auto turn = CO_TRY(co_await making_.take(key, token));
  FileLock lock = CO_TRY(co_await wait_for_lock(*reactor_, *pool_, *store_, key, token));
  auto path = co_await unpack_locked(image, reference, progress, fetched_anything, token);
  co_await release(*pool_, std::move(lock));
  co_return path;
}

Task<Result<std::string>> Puller::Work::unpack_locked(const LocalImage& image, const Reference* reference,
                                                      Progress* progress, bool& fetched_anything,
                                                      CancelToken token) {
  Unpacking unpacking(*reactor_, *pool_, *store_, unpacks_, image.manifest.layers.size(), settings_.limits,
                      progress);
  const auto made = co_await pool_->run([&] { return store_->find_rootfs(image.digest); });
  Layers layers{.image = &image, .reference = reference, .progress = progress, .unpacking = &unpacking};
  if (made) {
    layers.unpacking = nullptr;
    if (reference != nullptr) CO_TRY(co_await bring_layers(layers, token));
    fetched_anything = layers.fetched_anything;
    co_return *made;
  }
  Result<std::string> path = "";
  Result<> ready = co_await unpacking.begin();
  if (ready) ready = co_await bring_layers(layers, token);
  if (ready) path = co_await unpacking.make_rootfs(image.digest, token);
  co_await unpacking.end();
  fetched_anything = layers.fetched_anything;
  if (!ready) co_return std::unexpected(std::move(ready).error());
  co_return path;
}

Task<Result<PulledImage>> Puller::Work::pull(PullRequest request, Progress* progress, CancelToken token) {
  // What a digest names does not change.
  const bool ask = request.policy == PullRequest::Policy::always && !request.reference.digest;
  std::optional<LocalImage> local;
  if (!ask) local = CO_TRY(co_await find_local(request, token));
  if (!local && request.policy == PullRequest::Policy::never) {
    co_return fail(Code::not_found, request.reference.familiar() + " for " + request.platform.text() +
                                        " is not in " + store_->folder());
  }
  const bool is_local = local.has_value();
  if (!is_local) local = CO_TRY(co_await fetch_head(request, token));
  PulledImage pulled{.image = std::move(*local), .rootfs = {}};
  auto brought = co_await bring_rest(request, is_local, pulled, progress, token);
  if (brought) co_return pulled;
  co_await release(*pool_, std::move(pulled.image.lease));
  co_return std::unexpected(std::move(brought).error());
}

/// The layers and what is made of them, and the name when all is there.
Task<Result<>> Puller::Work::bring_rest(const PullRequest& request, bool is_local, PulledImage& pulled,
                                        Progress* progress, CancelToken token) {
  const LocalImage& image = pulled.image;
  if (progress != nullptr) progress->found(image.digest, image.manifest.layers);
  // A layer that is found damaged is fetched again also where the rest is here.
  const bool may_fetch = request.policy != PullRequest::Policy::never;
  const Reference* reference = may_fetch ? &request.reference : nullptr;
  if (request.unpack) {
    pulled.rootfs = CO_TRY(co_await unpack(image, reference, progress, pulled.fetched_anything, token));
  } else if (!is_local) {
    Layers layers{.image = &image, .reference = reference, .progress = progress, .unpacking = nullptr};
    CO_TRY(co_await bring_layers(layers, token));
    pulled.fetched_anything = layers.fetched_anything;
  }
  if (is_local) co_return Result<>();
  const Name name{.reference = request.reference.text(),
                  .manifest = image.digest,
                  .platform = request.platform,
                  .source = request.source.empty() ? request.reference.familiar() : request.source,
                  .updated_s = seconds_since_1970()};
  co_return co_await pool_->run([&] { return store_->set_name(name); });
}

Task<Result<std::string>> Puller::Work::rootfs(const LocalImage& image, Progress* progress,
                                               CancelToken token) {
  if (progress != nullptr) progress->found(image.digest, image.manifest.layers);
  bool fetched_anything = false;
  co_return co_await unpack(image, nullptr, progress, fetched_anything, token);
}

Task<Result<std::string>> Puller::Work::initramfs(const LocalImage& image, const InitramfsRequest& request,
                                                  Progress* progress, CancelToken token) {
  if (progress != nullptr) progress->found(image.digest, image.manifest.layers);
  const std::string key = "initramfs-" + image.digest.hex() + "-" + request.key;
  const auto turn = CO_TRY(co_await making_.take(key, token));
  FileLock lock = CO_TRY(co_await wait_for_lock(*reactor_, *pool_, *store_, key, token));
  auto path = co_await initramfs_locked(image, request, progress, token);
  co_await release(*pool_, std::move(lock));
  co_return path;
}

Task<Result<std::string>> Puller::Work::initramfs_locked(const LocalImage& image,
                                                         const InitramfsRequest& request, Progress* progress,
                                                         CancelToken token) {
  const auto made = co_await pool_->run([&] { return store_->find_initramfs(image.digest, request.key); });
  if (made) co_return *made;
  Unpacking unpacking(*reactor_, *pool_, *store_, unpacks_, image.manifest.layers.size(), settings_.limits,
                      progress);
  Layers layers{.image = &image, .reference = nullptr, .progress = progress, .unpacking = &unpacking};
  Result<std::string> path = "";
  Result<> ready = co_await unpacking.begin();
  if (ready) ready = co_await bring_layers(layers, token);
  if (ready) path = co_await unpacking.make_initramfs(image.digest, request.key, request.options, token);
  co_await unpacking.end();
  if (!ready) co_return std::unexpected(std::move(ready).error());
  co_return path;
}

Puller::Puller(reactor::Reactor& reactor, reactor::BlockingPool& pool, registry::Client& client, Store& store,
               PullSettings settings)
    : work_(std::make_unique<Work>(reactor, pool, client, store, settings)) {}

Puller::~Puller() = default;

Task<Result<PulledImage>> Puller::pull(PullRequest request, Progress* progress, CancelToken token) {
  return work_->pull(std::move(request), progress, token);
}

Task<Result<LocalImage>> Puller::load(Digest manifest, CancelToken token) {
  return work_->load(manifest, token);
}

Task<Result<std::string>> Puller::rootfs(const LocalImage& image, Progress* progress, CancelToken token) {
  return work_->rootfs(image, progress, token);
}

Task<Result<std::string>> Puller::initramfs(const LocalImage& image, const InitramfsRequest& request,
                                            Progress* progress, CancelToken token) {
  return work_->initramfs(image, request, progress, token);
}

}  // namespace lambdo::image
