#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/client/client.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"
#include "registry/client.h"
#include "scripted_server.h"

namespace lambdo::registry {

/// Content that a scripted registry serves, by path: documents under tags and digests, and blobs.
class Shelf {
 public:
  /// Adds a blob and gives its descriptor.
  Descriptor add_blob(const std::string& repository, const std::string& content, std::string_view media_type);
  /// Adds a document under its digest, and under `tag` where one is given; gives its descriptor.
  Descriptor add_document(const std::string& repository, const std::string& tag, const std::string& json,
                          std::string_view media_type);
  /// An image of a config and one layer under `tag`; gives the manifest's descriptor.
  Descriptor add_image(const std::string& repository, const std::string& tag, const std::string& layer);

  /// As a registry: /v2/, what was added, parts of blobs (Range), 404 otherwise.
  [[nodiscard]] Reply serve(const SeenRequest& request) const;

 private:
  struct Entry {
    std::string content;
    std::string media_type;
    Digest digest;
  };
  std::map<std::string, Entry> entries_;
};

std::string descriptor_json(const Descriptor& descriptor, const std::optional<Platform>& platform = {});
std::string index_json(const std::vector<std::string>& entries);

/// Keeps a blob in memory; fails once it has got `fail_after` bytes.
class MemorySink final : public BlobSink {
 public:
  Task<Result<>> write(std::span<const std::byte> data) override;
  Task<Result<>> restart() override;

  std::string content;
  size_t fail_after = SIZE_MAX;
  size_t largest_piece = 0;
  size_t restarts = 0;
};

/// A client with all that it needs, whose delays are short. Plain HTTP for the hosts that are named.
class TestClient {
 public:
  explicit TestClient(std::vector<std::string> plain_hosts, Settings settings = quick_settings(),
                      http::ClientSettings http_settings = {});
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;
  ~TestClient();

  static Settings quick_settings();

  Result<FetchedManifest> manifest(const std::string& reference, Platform platform = {});
  Result<std::string> blob(const std::string& reference, const Descriptor& descriptor);
  Result<> blob_into(const std::string& reference, const Descriptor& descriptor, BlobSink& sink,
                     CancelToken token = {});

  [[nodiscard]] reactor::Reactor& reactor() { return *reactor_; }
  [[nodiscard]] Client& client() { return *client_; }

 private:
  std::unique_ptr<reactor::Reactor> reactor_;
  std::unique_ptr<reactor::BlockingPool> pool_;
  std::unique_ptr<http::Client> http_;
  std::unique_ptr<Client> client_;
};

/// Whether the error's message has this in it.
bool says(const Error& error, std::string_view text);

/// Bytes that are not the same everywhere.
std::string sample_text(size_t len_bytes, unsigned seed = 1);

}  // namespace lambdo::registry
