#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "registry/blob_writer.h"
#include "registry/manifest.h"
#include "registry/reference.h"
#include "registry/retry.h"
#include "registry/session.h"

namespace lambdo::registry {

/// Something to get, by as many attempts at as many endpoints as it takes.
class Job {
 public:
  virtual ~Job() = default;
  virtual reactor::Task<Result<>> attempt(Session& session, Attempt& attempt, reactor::CancelToken token) = 0;
  /// What the attempts have got so far, of use to the next one.
  [[nodiscard]] virtual uint64_t progress_bytes() const { return 0; }
  /// Forgets it: it was wrong. An error is of whoever takes the content.
  virtual reactor::Task<Result<>> restart() { co_return Result<>(); }
};

/// A manifest or an index as it was stored.
struct Document {
  Digest digest;
  std::string json;
  std::variant<Manifest, Index> content;
};

class ManifestJob final : public Job {
 public:
  /// `selector` is a tag or a digest's text. `expected` is its descriptor where an index has it. All by
  /// reference outlive it.
  ManifestJob(reactor::BlockingPool& pool, const Reference& reference, std::string selector,
              const Descriptor* expected)
      : pool_(&pool), reference_(&reference), selector_(std::move(selector)), expected_(expected) {}

  reactor::Task<Result<>> attempt(Session& session, Attempt& attempt, reactor::CancelToken token) override;
  /// After an attempt that succeeded.
  Document take() { return std::move(*document_); }

 private:
  struct Received {
    std::string json;
    std::string media_type;
    std::string said_digest;           ///< Docker-Content-Digest
    std::vector<std::string> secrets;  ///< Session::secrets
  };
  reactor::Task<Result<>> fetch(Session& session, Attempt& attempt, reactor::CancelToken token);
  [[nodiscard]] std::string what() const;  ///< for messages: "library/python:3.12"
  [[nodiscard]] Result<Document> check(Received received) const;

  reactor::BlockingPool* pool_;
  const Reference* reference_;
  std::string selector_;
  const Descriptor* expected_;
  std::optional<Document> document_;
};

class BlobJob final : public Job {
 public:
  /// All outlive it.
  BlobJob(const Reference& reference, const Descriptor& blob, BlobWriter& writer)
      : reference_(&reference), blob_(&blob), writer_(&writer) {}

  reactor::Task<Result<>> attempt(Session& session, Attempt& attempt, reactor::CancelToken token) override;
  [[nodiscard]] uint64_t progress_bytes() const override { return writer_->received(); }
  reactor::Task<Result<>> restart() override { return writer_->restart(); }

 private:
  [[nodiscard]] Result<uint64_t> check_head(const http::IncomingResponse& response) const;
  reactor::Task<Result<>> receive(const Context& context, http::IncomingResponse& response,
                                  uint64_t skip_bytes, Attempt& attempt, reactor::CancelToken token);
  reactor::Task<Result<>> finish(Attempt& attempt);

  const Reference* reference_;
  const Descriptor* blob_;
  BlobWriter* writer_;
};

}  // namespace lambdo::registry
