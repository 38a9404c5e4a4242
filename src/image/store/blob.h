#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/sha256.h"
#include "image/store/temporary.h"
#include "registry/digest.h"
#include "registry/manifest.h"

namespace lambdo::image {

class Store;

/// A blob on its way into a store, from Store::new_blob. Until one of the commits it is a temporary file,
/// which goes with the writer. Blocking code; one thread at a time. The store outlives it.
class BlobWriter {
 public:
  /// Who knows that the content is what its digest says.
  enum class Check {
    here,      ///< the writer hashes what it gets
    by_caller  ///< whoever calls commit has hashed it already
  };

  BlobWriter(BlobWriter&&) noexcept = default;
  BlobWriter& operator=(BlobWriter&&) noexcept = default;

  Result<> write(std::span<const std::byte> data);
  [[nodiscard]] uint64_t size_bytes() const { return size_bytes_; }

  /// Syncs the content and puts it into its place. digest_mismatch and size_mismatch where it is not `blob`.
  Result<> commit(const registry::Descriptor& blob);
  /// What was written, for content whose digest nobody knew; nothing can be written any more, only committed.
  /// With Check::here only.
  registry::Descriptor describe(std::string_view media_type);

 private:
  friend Store;
  BlobWriter(Store& store, TemporaryFile file, Check check);
  Result<> put_into_place(const registry::Digest& digest);

  Store* store_;
  TemporaryFile file_;
  Check check_;
  Sha256 hash_;
  uint64_t size_bytes_ = 0;
  uint64_t flushed_bytes_ = 0;
};

/// Reads a blob of a store from its start and checks it on the way. Blocking code.
class BlobReader {
 public:
  BlobReader(Store& store, Fd fd, registry::Descriptor blob);

  /// 0 is the end, and says that all that came was right. store_invalid where it was not: then the store has
  /// moved the blob away, and what came is worthless.
  Result<size_t> read(std::span<std::byte> to);

 private:
  Store* store_;
  Fd fd_;
  registry::Descriptor blob_;
  Sha256 hash_;
  uint64_t left_bytes_;
  bool checked_ = false;
};

}  // namespace lambdo::image
