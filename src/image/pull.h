#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "image/image_limits.h"
#include "image/local_image.h"
#include "image/progress.h"
#include "image/store/store.h"
#include "image/writers/initramfs.h"
#include "reactor/blocking_pool.h"
#include "reactor/cancel.h"
#include "reactor/reactor.h"
#include "reactor/task.h"
#include "registry/client.h"
#include "registry/reference.h"

namespace lambdo::image {

using reactor::CancelToken;
using reactor::Task;
using registry::Reference;

struct PullRequest {
  enum class Policy {
    always,      ///< ask the registry what the reference means now
    if_missing,  ///< take what the store has under this reference for this platform, ask otherwise
    never        ///< not_found where the store does not have it
  };

  Reference reference;
  Platform platform;
  Policy policy = Policy::always;
  /// Unpack too, each layer as soon as it is there: the same as `rootfs` afterwards, but quicker.
  bool unpack = false;
  std::string source;  ///< what the user wrote, for Name::source; empty: reference.familiar()
};

struct PulledImage {
  LocalImage image;
  std::optional<std::string> rootfs;  ///< where `unpack` was asked for
  bool fetched_anything = false;
};

struct InitramfsRequest {
  std::string key;  ///< as Store::find_initramfs: other options or extra files need another one
  InitramfsOptions options;
};

struct PullSettings {
  /// Layers that come at once from one registry, of all pulls together; from all registries
  /// BlobFetcher::kHosts times as many.
  size_t max_downloads = 3;
  /// Layers that are decompressed at once, of all pulls together: each takes a thread of the pool, and
  /// at least one more is needed for what comes meanwhile.
  size_t max_unpacks = 2;
  ImageLimits limits;
};

/// Brings images from registries into the store, and makes of them what guests run from.
///
/// What the store has is not fetched again. A blob that two pulls want is fetched once, also where the other
/// pull is another process: this one waits for it. A pull that fails or is cancelled leaves the blobs that
/// were whole by then, and nothing else.
///
/// Beside what registry::Client gives: manifest_invalid, image_too_large, layer_invalid, digest_mismatch,
/// path_escape, resource_exhausted (no space: the message names the folder), store_invalid, store_busy.
class Puller {
 public:
  /// All outlive the puller; no method may be running when it is destroyed.
  Puller(reactor::Reactor& reactor, reactor::BlockingPool& pool, registry::Client& client, Store& store,
         PullSettings settings = {});
  ~Puller();
  Puller(const Puller&) = delete;
  Puller& operator=(const Puller&) = delete;

  /// `progress` may be null and outlives this.
  Task<Result<PulledImage>> pull(PullRequest request, Progress* progress, CancelToken token);

  /// An image that is in the store already, by its manifest: imported ones. not_found where a part is
  /// missing.
  Task<Result<LocalImage>> load(Digest manifest, CancelToken token);

  /// The image's unpacked root file system, made when it is first asked for. Whoever runs from it keeps the
  /// image's lease. `image` and `progress` (may be null) outlive this.
  Task<Result<std::string>> rootfs(const LocalImage& image, Progress* progress, CancelToken token);

  /// A boot archive of the image, made when it is first asked for. `request`, with what its descriptors name,
  /// outlives this too.
  Task<Result<std::string>> initramfs(const LocalImage& image, const InitramfsRequest& request,
                                      Progress* progress, CancelToken token);

 private:
  class Work;
  std::unique_ptr<Work> work_;
};

}  // namespace lambdo::image
