#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "image/image_limits.h"
#include "registry/platform.h"
#include "registry/settings.h"

namespace lambdo::image {

/// How images are fetched from registries, as `registries` of a configuration says it.
struct RegistryOptions {
  registry::Platform platform = registry::machine_platform();
  uint32_t parallel_downloads = 3;  ///< layers, of one registry and of all its images together
  uint64_t min_kb_per_s = 4;        ///< a layer that comes slower is given up for this attempt; 0: none
  ImageLimits caps;                 ///< of one image
  std::string ca_file;              ///< trusted beside the system's; may be empty
  std::optional<std::string> credentials;  ///< folder with Docker's config.json; empty: the usual places
  std::map<std::string, registry::HostSettings, std::less<>> hosts;  ///< by the host of references
};

}  // namespace lambdo::image
