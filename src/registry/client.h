#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "http/client/client.h"
#include "reactor/blocking_pool.h"
#include "reactor/cancel.h"
#include "reactor/reactor.h"
#include "reactor/task.h"
#include "registry/manifest.h"
#include "registry/reference.h"
#include "registry/settings.h"

namespace lambdo::registry {

using reactor::CancelToken;
using reactor::Task;

/// Where a blob goes.
class BlobSink {
 public:
  virtual ~BlobSink() = default;
  /// The next bytes of the blob: in order, each once until `restart`, whatever has to be tried again. `data`
  /// lives until this returns; it comes in pieces of up to 256 KiB. An error ends the download with it.
  virtual Task<Result<>> write(std::span<const std::byte> data) = 0;
  /// What was written is worthless: the blob comes once more, from its first byte. No `write` is running. An
  /// error ends the download with it.
  virtual Task<Result<>> restart() = 0;
};

struct FetchedManifest {
  Digest digest;           ///< of `json`
  std::string json;        ///< exactly as it came
  std::string media_type;  ///< one of the two manifests of `media_type`
  Manifest manifest;
  std::optional<Digest> index;  ///< where the reference names an index: that one's digest
};

/// Fetches images from registries (OCI distribution 1.1, "Pull"; Docker's registry API version 2).
///
/// All methods may run at once, any number of times. They retry what may pass (connections that break, 5xx,
/// 429) and give, beside what http::Client gives: unauthorized, not_found (no such repository, tag or
/// blob), overloaded (429 until the last attempt), registry_failed (everything else that a registry says; the
/// message has its status and code).
class Client {
 public:
  /// `reactor`, `http` and `pool` outlive the client. No method may be running when it is destroyed.
  Client(reactor::Reactor& reactor, http::Client& http, reactor::BlockingPool& pool, Settings settings);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// The manifest that `reference` names, or the one for `platform` where it names an index. Its digest is
  /// the one asked for, and what the registry says it is.
  ///
  /// manifest_invalid, media_type_unsupported and image_too_large as parse_manifest; platform_missing lists
  /// what there is; digest_mismatch.
  Task<Result<FetchedManifest>> fetch_manifest(Reference reference, Platform platform, CancelToken token);

  /// The content of `blob` from the repository of `reference`, into `sink`, which must outlive this. Resumes
  /// where a connection broke off, at the next mirror where the first has failed. Where a mirror gave other
  /// content it is set aside, and the blob begun anew at the next server.
  ///
  /// digest_mismatch and size_mismatch: what the sink got is worthless. The sink never gets more than
  /// `blob.size_bytes`.
  Task<Result<>> fetch_blob(Reference reference, Descriptor blob, BlobSink& sink, CancelToken token);

 private:
  class Work;
  std::unique_ptr<Work> work_;
};

}  // namespace lambdo::registry
