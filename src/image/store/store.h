#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "image/store/blob.h"
#include "image/store/file_lock.h"
#include "image/store/temporary.h"
#include "registry/digest.h"
#include "registry/manifest.h"

namespace lambdo::image {

using registry::Descriptor;
using registry::Digest;
using registry::Platform;

/// What somebody called an image, and what that was at the time.
struct Name {
  std::string reference;  ///< the canonical text, at most 1024 bytes; one name for each
  Digest manifest;
  Platform platform;
  std::string source;     ///< what was asked for, as it was written: "python:3.12-slim", "oci:/tmp/x:tag"
  int64_t updated_s = 0;  ///< seconds since 1970
};

/// What a name of the store leads to, as `list` tells of it.
struct ImageSummary {
  Name name;
  bool complete = false;  ///< all blobs are there, in their sizes
  size_t layers = 0;
  uint64_t compressed_bytes = 0;         ///< manifest, configuration and layers
  std::optional<uint64_t> rootfs_bytes;  ///< where it is unpacked
  uint64_t initramfs_bytes = 0;          ///< all that were made of it
};

struct StoreListing {
  std::vector<ImageSummary> images;  ///< sorted by reference
  uint64_t blob_bytes = 0;           ///< all blobs, each once
  uint64_t unnamed_bytes = 0;        ///< blobs that no name reaches: what `prune` is for
};

struct PruneReport {
  size_t blobs = 0;
  size_t rootfs = 0;
  size_t initramfs = 0;
  uint64_t bytes = 0;  ///< freed, of all of these
};

/// Keeps an image from being pruned while it lives: whoever pulls, unpacks or runs from an image holds one.
using Lease = FileLock;

/// Images on disk, named by their digests. A folder, by default `images` in the server's state directory:
///
///   blobs/sha256/HEX        manifests, configurations, layers (OCI image layout 1.1 has the same)
///   names/HEX               a name (JSON); HEX is the digest of its reference
///   rootfs/HEX/rootfs       an unpacked image, HEX its manifest; rootfs/HEX/info.json beside it
///   initramfs/HEX-KEY       boot archives made of an image
///   damaged/HEX             blobs that were found not to be what their names say
///   locks/, tmp/            of those who work here at the moment
///
/// Whatever is under its final name is whole: it was made in tmp/, synced and renamed. Each open store has a
/// folder of its own in tmp/, locked for as long as it lives; remove_leftovers() removes those of the dead.
///
/// All functions are blocking code for BlockingPool threads (or programs without a reactor), and may be
/// called from several threads at once. Nothing of it goes through the ring. ENOSPC is resource_exhausted and
/// names the folder. What is there but is not what it must be is store_invalid.
class Store {
 public:
  /// A file of every store.
  static constexpr std::string_view kVersionFile = "version";

  /// Makes the folder (0700) and what is missing in it. permission_denied where it belongs to somebody else
  /// or others may enter it.
  static Result<std::unique_ptr<Store>> open(const std::string& folder);
  /// Removes its temporary folder, unless a prune was stopped before it had removed all: the next
  /// remove_leftovers() goes on with it. Writers, leases and locks taken from it have ended.
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  [[nodiscard]] const std::string& folder() const { return folder_; }

  /// Removes what processes that have ended without cleaning up left in tmp/ and locks/. May be gigabytes,
  /// and thus take long: looks at `stop` (may be null). What cannot be removed is logged and stays.
  void remove_leftovers(const std::atomic<bool>* stop);

  // Blobs.

  /// There, and of that size. The content is looked at when it is read.
  [[nodiscard]] bool has_blob(const Descriptor& blob) const;
  /// A new blob that comes in pieces.
  Result<BlobWriter> new_blob(BlobWriter::Check check);
  /// The same for one that is in memory: digest_mismatch where it is not `digest`.
  Result<> put_blob(std::string_view content, const Digest& digest);
  /// For those who check the content while they read it (layers: by the digest of what they decompress to,
  /// blobs by BlobReader). A wrong size is store_invalid. not_found where there is none.
  Result<Fd> open_blob(const Descriptor& blob);
  /// A whole small blob, checked. `max_bytes` beyond is image_too_large.
  Result<std::string> read_blob(const Digest& digest, size_t max_bytes);
  /// Reads all of it: where it is damaged, moves it away, so that the next pull fetches it again, and gives
  /// store_invalid. Looks at `stop` (may be null) and gives cancelled.
  Result<> verify_blob(const Descriptor& blob, const std::atomic<bool>* stop);

  // Locks.

  /// For whoever is about to make `what` ("blob-HEX", "rootfs-HEX"): nullopt while somebody else is at it. At
  /// most 160 bytes of letters, digits and '-'.
  Result<std::optional<FileLock>> try_lock(const std::string& what);
  /// Taken before the image's first blob is looked for. Many may hold one.
  Result<Lease> lease(const Digest& manifest);

  // Names.

  Result<> set_name(const Name& name);
  /// A damaged one is logged and counts as none: what it named is not known any more. It stays until another
  /// one takes its place, or `prune`.
  Result<std::optional<Name>> find_name(std::string_view reference);
  /// Sorted by reference, without damaged ones. At most 65,536.
  Result<std::vector<Name>> names();
  /// not_found where there is none. The image stays until `prune`.
  Result<> remove_name(std::string_view reference);

  // What is made of images.

  /// A file or folder in the store's file system that is removed with its owner.
  Result<TemporaryFolder> make_temporary_folder();
  [[nodiscard]] std::optional<std::string> find_rootfs(const Digest& manifest) const;
  /// Puts `folder`/rootfs into its place and gives its path; the one that was there first stays.
  Result<std::string> keep_rootfs(TemporaryFolder folder, const Digest& manifest, uint64_t bytes);
  /// `key` tells apart the archives of one image (agent, modules, compression): 1 to 64 letters and digits.
  [[nodiscard]] std::optional<std::string> find_initramfs(const Digest& manifest, std::string_view key) const;
  /// The file for one that is being made.
  Result<TemporaryFile> new_initramfs() { return TemporaryFile::create(temporary_path()); }
  /// Puts it into its place and gives its path; the one that was there first stays.
  Result<std::string> keep_initramfs(TemporaryFile file, const Digest& manifest, std::string_view key);

  // All of it.

  /// Looks at `stop` (may be null): cancelled.
  Result<StoreListing> list(const std::atomic<bool>* stop = nullptr);
  /// Removes what no name reaches and nobody has a lease on. store_busy where others do not let go of the
  /// store in time. Looks at `stop` (may be null): cancelled, and each thing is there or gone.
  ///
  /// The parts of an image whose manifest is damaged are not known. Where it only has a name, they go, and
  /// the next pull fetches them; where somebody has a lease on it nothing is removed (store_invalid). Nor is
  /// anything removed where a manifest cannot be read for now: that is the error then.
  Result<PruneReport> prune(int wait_ms = 10'000, const std::atomic<bool>* stop = nullptr);

 private:
  friend BlobWriter;
  friend BlobReader;

  explicit Store(std::string folder) : folder_(std::move(folder)) {}
  Result<> check_version();
  Result<> open_session();
  [[nodiscard]] std::string blob_path(const Digest& digest) const;
  [[nodiscard]] std::string name_path(std::string_view reference) const;
  [[nodiscard]] std::string rootfs_path(const Digest& manifest) const;
  [[nodiscard]] std::string temporary_path();
  /// Held by whoever moves something into its place: `prune` holds it against all of them.
  Result<FileLock> shared_lock();
  Result<> move_into_blobs(TemporaryFile& file, const Digest& digest);
  Result<> write_small_file(const std::string& path, std::string_view content);
  /// Moves a blob away unless it is another file by now than `fd`. Gives the error that says so.
  std::unexpected<Error> damaged(const Digest& digest, int fd, const std::string& how);
  enum class DamagedNames { stay, go };
  Result<std::optional<Name>> read_name(const std::string& path);
  Result<std::vector<Name>> read_names(DamagedNames damaged_names);
  Result<> remove_leftover(const std::string& path, const std::atomic<bool>* stop);
  void remove_unused_locks();
  Result<std::vector<Descriptor>> parts_of(const Digest& manifest);
  Result<std::set<Digest>> leased();
  struct Kept;
  Result<Kept> find_kept(const std::atomic<bool>* stop);
  Result<> keep_parts(const Digest& image, bool is_leased, std::set<Digest>& blobs);
  class Sweep;

  std::string folder_;
  std::string session_;  ///< its folder in tmp/
  Fd session_lock_;
  std::atomic<uint64_t> next_temporary_ = 0;
  std::atomic<bool> leaves_session_ = false;  ///< to the next remove_leftovers()
};

}  // namespace lambdo::image
