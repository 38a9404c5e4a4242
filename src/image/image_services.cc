#include "image/image_services.h"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <thread>
#include <utility>

#include "image/layouts/transfer.h"
#include "image/stop_flag.h"
#include "image/stored_name.h"

namespace lambdo::image {

Result<std::unique_ptr<ImageServices>> ImageServices::create(reactor::Reactor& reactor,
                                                             const ImageServicesOptions& options) {
  const RegistryOptions& registries = options.registries;
  const size_t unpacks = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 4);
  constexpr size_t kOtherThreads = 3;  // for writing, hashing, reading and removing leftovers meanwhile
  std::unique_ptr<ImageServices> services(new ImageServices(reactor, unpacks + kOtherThreads, options.cpus));
  services->limits_ = registries.caps;
  services->store_ = TRY(Store::open(std::filesystem::absolute(options.store_folder).lexically_normal()));

  http::ClientSettings http_settings;
  if (!registries.ca_file.empty()) http_settings.extra_ca_files = {registries.ca_file};
  http_settings.limits.connections_per_host = registries.parallel_downloads + 2;
  services->http_ = TRY(http::Client::create(reactor, std::move(http_settings)));

  registry::Settings settings;
  settings.hosts = registries.hosts;
  settings.min_blob_bytes_per_s = registries.min_kb_per_s * 1024;
  if (registries.credentials) settings.docker_config_folder = *registries.credentials;
  if (options.credentials) {
    settings.docker_config_folder.clear();
    settings.credentials = *options.credentials;
  }
  services->client_ =
      std::make_unique<registry::Client>(reactor, *services->http_, services->pool_, std::move(settings));
  services->puller_ = std::make_unique<Puller>(
      reactor, services->pool_, *services->client_, *services->store_,
      PullSettings{
          .max_downloads = registries.parallel_downloads, .max_unpacks = unpacks, .limits = registries.caps});
  return services;
}

Task<Result<LocalImage>> ImageServices::import(const ImageSource& source, const std::string& name,
                                               const registry::Platform& platform, CancelToken token) {
  const StopFlag stop(token);
  const auto work = [&]() -> Result<LocalImage> {
    LocalImage image = TRY(import_image(*store_, source.place, platform, limits_, stop.flag()));
    TRY(store_->set_name({.reference = name,
                          .manifest = image.digest,
                          .platform = platform,
                          .source = source.text(),
                          .updated_s = std::time(nullptr)}));
    return image;
  };
  co_return co_await pool_.run(work);
}

Task<Result<PulledImage>> ImageServices::bring(ImageSource source, std::string name,
                                               registry::Platform platform, PullRequest::Policy policy,
                                               bool unpack, Progress* progress, CancelToken token) {
  if (source.kind == ImageSource::Kind::registry) {
    PullRequest request{.reference = source.reference,
                        .platform = std::move(platform),
                        .policy = policy,
                        .unpack = unpack,
                        .source = source.text()};
    co_return co_await puller_->pull(std::move(request), progress, token);
  }
  if (name.empty()) name = store_name(source);
  PulledImage pulled{.image = CO_TRY(co_await import(source, name, platform, token)), .rootfs = {}};
  if (unpack) pulled.rootfs = CO_TRY(co_await puller_->rootfs(pulled.image, progress, token));
  co_return pulled;
}

Task<> ImageServices::remove_leftovers(CancelToken token) {
  const StopFlag stop(token);
  co_await pool_.run([&] { store_->remove_leftovers(&stop.flag()); });
}

Task<> ImageServices::close() {
  co_await http_->close();
}

}  // namespace lambdo::image
