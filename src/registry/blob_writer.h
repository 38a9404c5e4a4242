#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"
#include "registry/client.h"

namespace lambdo::registry {

/// Hands a blob on to its sink, and hashes it on the pool meanwhile: what comes next is gathered while the
/// batch before is hashed and written. Holds two batches at most.
class BlobWriter {
 public:
  static constexpr size_t kBatchBytes = 256 << 10;

  /// All outlive it.
  BlobWriter(reactor::Reactor& reactor, reactor::BlockingPool& pool, BlobSink& sink, const Descriptor& blob)
      : pool_(&pool), sink_(&sink), blob_(&blob), scope_(reactor) {}

  /// Bytes taken so far.
  [[nodiscard]] uint64_t received() const { return received_; }
  [[nodiscard]] uint64_t missing() const { return blob_->size_bytes - received_; }
  /// The next bytes, at most `missing()`. An error is the sink's.
  reactor::Task<Result<>> take(std::span<const std::byte> data);
  /// Writes what is left. An error is the sink's.
  reactor::Task<Result<>> flush();
  /// After `flush`, once: size_mismatch or digest_mismatch where it is not the blob.
  Result<> compare();
  /// Forgets all that came, and has the sink forget it. An error is the sink's.
  reactor::Task<Result<>> restart();
  /// Waits for what is under way. Await this or `flush` before it dies.
  reactor::Task<> stop();

 private:
  reactor::Task<Result<>> hand_over();
  reactor::Task<> process();

  reactor::BlockingPool* pool_;
  BlobSink* sink_;
  const Descriptor* blob_;
  reactor::Scope scope_;
  Sha256 sha256_;
  std::vector<std::byte> gathering_;
  std::vector<std::byte> processing_;
  Result<> outcome_;
  uint64_t received_ = 0;
};

}  // namespace lambdo::registry
