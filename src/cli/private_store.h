#pragma once

#include <string>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "image/temporary.h"

namespace lambdo::cli {

/// A folder for an image store that only one command uses: a new one in the folder for temporary files
/// (TMPDIR, else /tmp), removed with this object, and locked until then. Blocking code.
class PrivateStore {
 public:
  /// Removes those that this user's killed commands left first. What cannot be removed is logged and stays.
  static Result<PrivateStore> create();

  /// Of the store; does not exist yet.
  [[nodiscard]] std::string path() const { return folder_.path() + "/store"; }

 private:
  PrivateStore(image::TemporaryFolder folder, Fd lock) : lock_(std::move(lock)), folder_(std::move(folder)) {}

  Fd lock_;  ///< outlives the folder
  image::TemporaryFolder folder_;
};

}  // namespace lambdo::cli
