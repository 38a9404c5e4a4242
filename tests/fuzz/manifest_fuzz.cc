#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

#include "base/check.h"
#include "registry/manifest.h"
#include "registry/platform.h"

using lambdo::registry::Index;
using lambdo::registry::Manifest;
namespace media_type = lambdo::registry::media_type;

/// Any bytes as a manifest. The first byte says as what it came.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len_bytes) {
  if (len_bytes == 0) return 0;
  constexpr std::string_view kTypes[] = {media_type::kOciManifest,    media_type::kOciIndex,
                                         media_type::kDockerManifest, media_type::kDockerIndex,
                                         "application/json",          ""};
  const std::string_view json(reinterpret_cast<const char*>(data) + 1, len_bytes - 1);
  const auto parsed = lambdo::registry::parse_manifest(json, kTypes[data[0] % std::size(kTypes)]);
  if (!parsed) {
    CHECK(!parsed.error().message.empty());
    return 0;
  }
  if (const auto* manifest = std::get_if<Manifest>(&*parsed)) {
    CHECK(manifest->layers.size() <= 512);
    return 0;
  }
  const auto& index = std::get<Index>(*parsed);
  CHECK(index.entries.size() <= 1024);
  CHECK(lambdo::registry::candidates_for(index, {}).size() <= index.entries.size());
  return 0;
}
