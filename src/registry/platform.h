#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "registry/manifest.h"

namespace lambdo::registry {

/// "linux/arm64" or "linux/arm/v7", as `Platform::text` writes it; invalid_argument for all else.
Result<Platform> parse_platform(std::string_view text);

/// The platform of the machine that this runs on, as images call it.
Platform machine_platform();

/// Whether the two mean the same machine: a missing variant is the usual one (v8 of arm64, v7 of arm, v1 of
/// amd64).
bool same_machine(const Platform& a, const Platform& b);

/// The entries of an index to look at for a platform, the best first: manifests for it, indexes for it,
/// indexes that do not say, manifests that do not say. Attestations (unknown/unknown) and entries of kinds
/// that are not read are left out.
std::vector<Descriptor> candidates_for(const Index& index, const Platform& wanted);

/// platform_missing, with the platforms that the indexes do have, `secrets` taken out of their names.
std::unexpected<Error> platform_missing(const Platform& wanted, const std::vector<Platform>& available,
                                        std::span<const std::string> secrets = {});

/// The platforms of the images in an index, as it says.
std::vector<Platform> platforms_of(const Index& index);

}  // namespace lambdo::registry
