#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "registry/digest.h"
#include "registry/manifest.h"

namespace lambdo::image {

/// What an image says about how it is to be run, and of which layers it is (OCI image 1.1, config.md;
/// Docker's image specification 1.2 has the same names).
struct ImageConfig {
  static constexpr size_t kMaxBytes = 4 << 20;
  static constexpr size_t kMaxStrings = 4096;           ///< of Env, Entrypoint and Cmd each
  static constexpr size_t kMaxStringBytes = 128 << 10;  ///< what Linux takes for one (MAX_ARG_STRLEN)

  registry::Platform platform;
  std::vector<std::string> env;  ///< "NAME=value", in the image's order
  std::string working_dir;       ///< empty or absolute
  std::string user;              ///< "", "1000", "name", "1000:1000", "name:group"
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<registry::Digest> diff_ids;  ///< of the layers, decompressed, the lowest first

  /// manifest_invalid names the field that is not what it must be; image_too_large beyond kMaxBytes.
  /// `layers` is how many the manifest has: diff_ids must be as many.
  static Result<ImageConfig> parse(std::string_view json, size_t layers);

  /// The value of an environment variable, empty where it has none.
  [[nodiscard]] std::string_view variable(std::string_view name) const;
};

}  // namespace lambdo::image
