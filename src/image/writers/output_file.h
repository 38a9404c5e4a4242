#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "image/store/temporary.h"

namespace lambdo::image {

/// A file that somebody asked for by its path: it is there only once it is whole and on the disk. Until then
/// it is `path`.lambdo-part beside it, which goes with this object. Blocking code.
class OutputFile {
 public:
  /// What a process that was killed left under the other name is replaced. store_busy where another process
  /// is writing the same file; invalid_argument where `path` cannot be one: a folder, a device, in no folder.
  static Result<OutputFile> create(std::string path);

  [[nodiscard]] int fd() const { return file_.fd(); }
  /// Syncs it and puts it into its place, whatever file was there. store_busy where it is no longer under its
  /// other name: what is there is somebody else's, and stays.
  Result<> commit(mode_t mode);

 private:
  OutputFile(std::string path, TemporaryFile file) : path_(std::move(path)), file_(std::move(file)) {}

  std::string path_;
  TemporaryFile file_;
};

}  // namespace lambdo::image
