#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "http/client/client.h"
#include "image/image_source.h"
#include "image/pull.h"
#include "image/registry_options.h"
#include "image/store/store.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"
#include "registry/client.h"

namespace lambdo::image {

struct ImageServicesOptions {
  std::string store_folder;
  RegistryOptions registries;
  /// Of a process that may start programs, which credential helpers are: none. Else what they said before.
  std::optional<registry::CredentialsByHost> credentials;
  /// Where the work on images goes on: a server leaves a processor to those it answers meanwhile.
  reactor::BlockingPool::Cpus cpus = reactor::BlockingPool::Cpus::all;
};

/// What brings images here: the store, a client of registries, and threads for what takes long.
class ImageServices {
 public:
  /// Makes the store where it is missing. Blocks for a moment. `reactor` outlives the services.
  static Result<std::unique_ptr<ImageServices>> create(reactor::Reactor& reactor,
                                                       const ImageServicesOptions& options);
  /// `close` must have returned.
  ~ImageServices() = default;
  ImageServices(const ImageServices&) = delete;
  ImageServices& operator=(const ImageServices&) = delete;

  /// Brings the image of `source` into the store, under a name: `name` where it is not empty, else the
  /// source's own (the reference, or the layout's or archive's absolute path). `policy` is for registries.
  /// `progress` may be null; all outlive the call.
  Task<Result<PulledImage>> bring(ImageSource source, std::string name, registry::Platform platform,
                                  PullRequest::Policy policy, bool unpack, Progress* progress,
                                  CancelToken token);

  /// Removes what killed processes left in the store, which may take long. Meanwhile all else goes on. Once.
  Task<> remove_leftovers(CancelToken token);

  /// Ends kept connections. All that was asked for has ended.
  Task<> close();

  [[nodiscard]] Store& store() { return *store_; }
  [[nodiscard]] Puller& puller() { return *puller_; }
  [[nodiscard]] reactor::Reactor& reactor() { return *reactor_; }
  [[nodiscard]] reactor::BlockingPool& pool() { return pool_; }
  [[nodiscard]] const ImageLimits& limits() const { return limits_; }

 private:
  ImageServices(reactor::Reactor& reactor, size_t threads, reactor::BlockingPool::Cpus cpus)
      : reactor_(&reactor), pool_(reactor, threads, cpus) {}
  Task<Result<LocalImage>> import(const ImageSource& source, const std::string& name,
                                  const registry::Platform& platform, CancelToken token);

  reactor::Reactor* reactor_;
  reactor::BlockingPool pool_;
  ImageLimits limits_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<http::Client> http_;
  std::unique_ptr<registry::Client> client_;
  std::unique_ptr<Puller> puller_;
};

}  // namespace lambdo::image
