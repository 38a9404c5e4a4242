#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "http/client/client.h"
#include "image/pull.h"
#include "image/store/store.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"
#include "registry/client.h"

namespace lambdo::image {

/// The distribution's registry on a free port of the loopback interface.
class RealRegistry {
 public:
  /// Keeps what it has below `folder`.
  explicit RealRegistry(const std::string& folder);
  ~RealRegistry();
  RealRegistry(const RealRegistry&) = delete;
  RealRegistry& operator=(const RealRegistry&) = delete;

  [[nodiscard]] const std::string& host() const { return host_; }
  /// Copies "oci:DIR:TAG" to `name` ("app:1") with skopeo; gives the reference.
  [[nodiscard]] std::string push(const std::string& source, const std::string& name,
                                 const std::string& options = {}) const;
  /// What was asked of it, one line a request: "GET /v2/app/manifests/1".
  [[nodiscard]] std::vector<std::string> requests() const;
  /// Of those, the GETs of blobs.
  [[nodiscard]] size_t blob_requests() const;

 private:
  std::string log_;
  std::string host_;
  pid_t pid_ = -1;
};

/// A puller with all that it needs, for a registry without TLS.
class TestPuller {
 public:
  TestPuller(Store& store, const std::string& host, PullSettings settings = {});
  ~TestPuller();
  TestPuller(const TestPuller&) = delete;
  TestPuller& operator=(const TestPuller&) = delete;

  Result<PulledImage> pull(const PullRequest& request, Progress* progress = nullptr, CancelToken token = {});

  [[nodiscard]] reactor::Reactor& reactor() { return *reactor_; }
  [[nodiscard]] Puller& puller() { return *puller_; }

 private:
  std::unique_ptr<reactor::Reactor> reactor_;
  std::unique_ptr<reactor::BlockingPool> pool_;
  std::unique_ptr<http::Client> http_;
  std::unique_ptr<registry::Client> client_;
  std::unique_ptr<Puller> puller_;
};

PullRequest request_for(const std::string& reference, bool unpack = false);

/// Makes an OCI layout below `folder` with an image "big" of `layers` layers of about `layer_bytes` each,
/// which replace and remove some of each other's files; gives "DIR:big".
std::string make_big_layout(const std::string& folder, size_t layers, size_t layer_bytes);

/// All entries of a folder with their modes, owners, sizes, links and contents, one a line.
std::string listing_of(const std::string& folder);

}  // namespace lambdo::image
