#pragma once

#include <optional>

#include "base/error.h"
#include "engine/language.h"
#include "net/policy.h"
#include "net/policy_text.h"

namespace lambdo::engine {

/// What a run may do on the network: what its language has, or what its request asks for. A request always
/// gets less than its language: none, or the language's own access with more denied. Anything else it gets as
/// far as `most` (network.requests) allows: of egress what is public only, and what the language denies stays
/// denied. Code::permission_denied or invalid_argument names the field.
Result<net::Policy> effective_network(const Language& language,
                                      const std::optional<net::PolicyChoice>& request,
                                      net::Policy::Access most);

}  // namespace lambdo::engine
