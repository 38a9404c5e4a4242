#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "image/layers/spool.h"
#include "image/layers/tree.h"
#include "image/writers/archive_sink.h"

namespace lambdo::image {

/// A regular file in the archive's root that is not the image's: "init", "agent", "config.yaml". It takes the
/// place of whatever the image has there, a folder with all in it too. Root's, and of the year 1970.
struct ExtraFile {
  std::string name;
  uint32_t mode = 0755;
  int fd = -1;  ///< a regular file of the host, read from its start; stays the caller's
};

struct InitramfsOptions {
  ArchiveCompression compression = ArchiveCompression::none;
  bool keeps_mtime = true;  ///< else all are 0
  std::vector<ExtraFile> first;
  std::vector<ExtraFile> last;
};

struct InitramfsReport {
  size_t entries = 0;
  uint64_t archive_bytes = 0;  ///< before compression
  uint64_t written_bytes = 0;
  size_t skipped_xattrs = 0;  ///< a newc archive has no place for them
};

/// Writes a newc cpio archive (Linux Documentation/driver-api/early-userspace/buffer-format.rst) to `fd`: the
/// extra files that come first, the image's files sorted by name, those that come last. The same tree, files
/// and options give the same bytes. Contents are read from the spool, and stay there. Times before 1970 and
/// after 2106 become the nearest that the format knows.
///
/// image_too_large: a file of 4 GiB or more, by name. invalid_argument: an extra file that is no regular one,
/// or whose name is empty, "." or "..", has a '/' in it or is there twice. cancelled: `stop`.
Result<InitramfsReport> write_initramfs(const Tree& tree, const Spool& spool, const InitramfsOptions& options,
                                        int fd, const std::atomic<bool>& stop);

}  // namespace lambdo::image
