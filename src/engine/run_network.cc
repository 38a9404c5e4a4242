#include "engine/run_network.h"

#include <string>

namespace lambdo::engine {

using net::Policy;

Result<Policy> effective_network(const Language& language, const std::optional<net::PolicyChoice>& request,
                                 Policy::Access most) {
  if (!request) return language.network;
  auto checked = net::check_choice(*request);
  if (!checked) return std::unexpected(std::move(checked).error().with_context("network"));
  Policy policy;
  if (request->access == Policy::Access::none) return policy;
  if (request->access == language.network.access && !request->allowed) {
    policy = language.network;
    policy.denied.insert(policy.denied.end(), request->denied.begin(), request->denied.end());
    return policy;
  }
  if (request->access > most) {
    return fail(Code::permission_denied, "network: " + std::string(net::access_name(request->access)) +
                                             " is more than this server gives to a request "
                                             "(network.requests: " +
                                             std::string(net::access_name(most)) + ")");
  }
  policy = net::policy_of(*request);
  if (most == Policy::Access::egress) policy.public_only = true;
  const auto& denied = language.network.denied;
  policy.denied.insert(policy.denied.end(), denied.begin(), denied.end());
  return policy;
}

}  // namespace lambdo::engine
