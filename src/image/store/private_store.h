#pragma once

#include <string>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "image/store/temporary.h"

namespace lambdo::image {

/// A folder for an image store that only one command uses: a new one in the folder for temporary files
/// (TMPDIR, else /tmp), removed with this object, and locked until then. Blocking code.
class PrivateStore {
 public:
  /// Removes those that this user's killed commands left first: folders that are named as ours are, nobody
  /// else may enter, and have a marker in them. What cannot be removed is logged and stays.
  static Result<PrivateStore> create();

  /// Of the store: an empty folder.
  [[nodiscard]] const std::string& path() const { return store_.path(); }

 private:
  PrivateStore(Fd lock, TemporaryFolder folder, TemporaryFolder store)
      : lock_(std::move(lock)), folder_(std::move(folder)), store_(std::move(store)) {}

  Fd lock_;                 ///< outlives the folder
  TemporaryFolder folder_;  ///< with the marker, which outlives the store
  TemporaryFolder store_;
};

}  // namespace lambdo::image
