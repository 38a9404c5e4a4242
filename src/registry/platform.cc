#include "registry/platform.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "registry/redact.h"

namespace lambdo::registry {

std::string Platform::text() const {
  std::string out = os + "/" + architecture;
  if (!variant.empty()) out += "/" + variant;
  return out;
}

Result<Platform> parse_platform(std::string_view text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == '/') {
      parts.emplace_back();
      continue;
    }
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    if (!allowed) parts.clear();
    if (parts.empty()) break;
    parts.back() += c;
  }
  const bool whole = std::ranges::none_of(parts, [](const std::string& part) { return part.empty(); });
  if (!whole || parts.size() < 2 || parts.size() > 3) {
    return fail(Code::invalid_argument,
                "a platform is OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT in lower case, as linux/arm64");
  }
  Platform platform{.os = parts[0], .architecture = parts[1]};
  if (parts.size() == 3) platform.variant = parts[2];
  return platform;
}

Platform machine_platform() {
  // The names of Go's GOARCH (OCI image 1.1, image-index.md, "platform"), by those of uname(2).
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kNames = {{
      {"x86_64", "amd64"},
      {"aarch64", "arm64"},
      {"armv7l", "arm"},
      {"i686", "386"},
      {"ppc64le", "ppc64le"},
      {"s390x", "s390x"},
      {"riscv64", "riscv64"},
  }};
  utsname names{};
  ::uname(&names);
  const std::string_view machine = names.machine;
  const auto known = std::ranges::find(kNames, machine, &decltype(kNames)::value_type::first);
  return {.os = "linux", .architecture = std::string(known == kNames.end() ? machine : known->second)};
}

static std::string_view variant_of(const Platform& platform) {
  if (!platform.variant.empty()) return platform.variant;
  if (platform.architecture == "arm64") return "v8";
  if (platform.architecture == "arm") return "v7";
  if (platform.architecture == "amd64") return "v1";
  return "";
}

bool same_machine(const Platform& a, const Platform& b) {
  return a.os == b.os && a.architecture == b.architecture && variant_of(a) == variant_of(b);
}

static bool is_index(const Descriptor& entry) {
  return entry.media_type == media_type::kOciIndex || entry.media_type == media_type::kDockerIndex;
}
static bool is_manifest(const Descriptor& entry) {
  return entry.media_type == media_type::kOciManifest || entry.media_type == media_type::kDockerManifest;
}

std::vector<Descriptor> candidates_for(const Index& index, const Platform& wanted) {
  std::vector<Descriptor> candidates;
  const auto take = [&](auto kind, bool says) {
    for (const Descriptor& entry : index.entries) {
      const bool fits = says ? entry.platform && same_machine(*entry.platform, wanted) : !entry.platform;
      if (fits && kind(entry)) candidates.push_back(entry);
    }
  };
  take(is_manifest, true);
  take(is_index, true);
  take(is_index, false);
  take(is_manifest, false);
  return candidates;
}

std::vector<Platform> platforms_of(const Index& index) {
  std::vector<Platform> platforms;
  for (const Descriptor& entry : index.entries) {
    // How build tools mark what accompanies an image but is none.
    if (!entry.platform || entry.platform->os == "unknown") continue;
    if (std::ranges::find(platforms, *entry.platform) == platforms.end())
      platforms.push_back(*entry.platform);
  }
  return platforms;
}

std::unexpected<Error> platform_missing(const Platform& wanted, const std::vector<Platform>& available,
                                        std::span<const std::string> secrets) {
  constexpr size_t kMaxListed = 32;
  std::string list;
  for (size_t i = 0; i < std::min(available.size(), kMaxListed); ++i) {
    list += (i > 0 ? ", " : "") + redacted(available[i].text(), secrets);
  }
  if (available.size() > kMaxListed) list += ", ...";
  return fail(Code::platform_missing,
              "the image has no variant for " + wanted.text() +
                  (list.empty() ? "; its index names no platform" : "; there is " + list));
}

}  // namespace lambdo::registry
