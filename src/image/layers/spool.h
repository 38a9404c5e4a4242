#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "image/layers/file_metadata.h"
#include "image/store/temporary.h"

namespace lambdo::image {

/// The content of one regular file in a spool. The default names none: an empty file has no content.
struct Content {
  uint32_t folder = 0;
  uint32_t number = 0;  ///< from 1 on

  [[nodiscard]] bool exists() const { return number != 0; }
  bool operator==(const Content&) const = default;
};

/// A temporary folder for the contents of an image's files while its layers are merged. A content is written
/// once; it is then either moved to its place in a root file system or read by the writer of an initramfs.
/// Files have their metadata from the start, so that moving one is a single call; but those that not
/// everybody may read have it set when they are moved. Until then they are the process's own, which can read
/// them without privileges, whoever they will belong to.
///
/// The folder has mode 0700, for there are set-uid files in it. Blocks; may be used by several threads.
class Spool {
 public:
  struct Limits {
    uint64_t bytes = uint64_t{32} << 30;  ///< of all contents, holes included
    uint64_t files = 2'000'000;
  };
  class Writer;
  class File;

  /// Makes the folder `path`, which must not exist.
  static Result<std::unique_ptr<Spool>> create(std::string path, const Limits& limits);
  static Result<std::unique_ptr<Spool>> create(std::string path) { return create(std::move(path), Limits()); }
  /// Removes the folder with all that is still in it, which takes long for a large one.
  ~Spool() = default;
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// Writes the contents of one layer, on one thread. The spool outlives it.
  Result<Writer> writer();

  /// For reading. not_found where the content was moved.
  [[nodiscard]] Result<Fd> open(Content content) const;
  /// Moves a content to the new name `name` in `folder`, on the same file system. What is there is not
  /// replaced: that is an error. `metadata` and `xattrs` are what it was finished with.
  Result<> move(Content content, int folder, const char* name, const FileMetadata& metadata,
                std::span<const Xattr> xattrs);

  /// What it could not set on files of its.
  [[nodiscard]] const MetadataSetter& metadata() const { return metadata_; }

 private:
  Spool(TemporaryFolder place, Fd folder, const Limits& limits);
  Result<> charge(std::atomic<uint64_t>& used, uint64_t amount, uint64_t limit, const char* what);

  TemporaryFolder place_;
  Fd folder_;
  Limits limits_;
  MetadataSetter metadata_;
  std::atomic<uint32_t> next_folder_ = 0;
  std::atomic<uint64_t> files_ = 0;
  std::atomic<uint64_t> bytes_ = 0;
};

/// A content being written. One that is not finished is removed with the spool.
class Spool::File {
 public:
  /// At an offset of its own, not before the last one's end: what lies between is a hole.
  Result<> write(uint64_t offset, std::span<const std::byte> data);
  /// After the last write.
  Result<Content> finish(const FileMetadata& metadata, std::span<const Xattr> xattrs);

 private:
  friend class Writer;
  File(Spool& spool, Fd fd, Content content, uint64_t size_bytes, uint32_t created_mode);

  Spool* spool_;
  Fd fd_;
  Content content_;
  uint64_t size_bytes_;
  uint64_t end_ = 0;
  uint32_t created_mode_;
};

class Spool::Writer {
 public:
  /// image_too_large where the spool's limits would be passed.
  Result<File> begin(uint64_t size_bytes, uint32_t mode);

 private:
  friend class Spool;
  Writer(Spool& spool, Fd folder, uint32_t number);

  Spool* spool_;
  Fd folder_;
  Content next_;
};

}  // namespace lambdo::image
