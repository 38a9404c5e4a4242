#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "image/layers/spool.h"
#include "image/layers/tree.h"

namespace lambdo::image {

struct RootfsReport {
  size_t entries = 0;
  /// What the process may not do, for it is not root, or what the file system does not know.
  size_t skipped_devices = 0;
  size_t skipped_owners = 0;
  size_t skipped_xattrs = 0;
};

/// Writes the tree into `target`, an open folder that is empty, nobody else's, and on the spool's file
/// system. Contents are moved out of the spool: an initramfs has to be written before. No path is followed
/// through a symlink or out of `target` (openat2(2), RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS). Owners, modes,
/// times and attributes are the image's, those of `target` itself too. A set-id bit goes where its owner
/// could not be set.
///
/// store_invalid: something is in `target`.
///
/// Not durable before the caller's syncfs(2). On failure the folder holds a part, which the caller removes.
Result<RootfsReport> write_rootfs(const Tree& tree, Spool& spool, int target, const std::atomic<bool>& stop);

}  // namespace lambdo::image
