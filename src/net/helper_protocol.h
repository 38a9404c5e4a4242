// The messages between the server (guest_network.h) and its network helper (helper_main.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "net/firewall.h"
#include "net/host_network.h"
#include "net/policy.h"
#include "reactor/helper/message.h"

/// What the server and its network helper say to each other (reactor/helper/message.h).
namespace lambdo::net {

struct HelperKind {
  enum : uint8_t {
    success = helper::kSuccess,
    failure = helper::kFailure,
    attach =
        helper::kFirstOwnKind,  ///< texts: identity, policy. Its success has a descriptor: the guest's end
    detach,                     ///< texts: port
    set_policy,                 ///< texts: port, policy
    counters,                   ///< texts: port
    ready,                      ///< unsolicited, first
  };
};

/// The shapes of these kinds.
helper::Protocol helper_protocol();

/// A request about `subject`, an identity or a port, with a policy.
helper::Message encode_policy_request(uint8_t kind, std::string subject, const Policy& policy);
/// Its policy, checked. Code::invalid_argument where it is none.
Result<Policy> decode_policy(const helper::Message& request);

/// All of the guest but its end and resolvers.
helper::Message encode_guest(const AttachedGuest& guest);
Result<AttachedGuest> decode_guest(const helper::Message& answer);

helper::Message encode_counters(const TrafficCounters& counters);
Result<TrafficCounters> decode_counters(const helper::Message& answer);

}  // namespace lambdo::net
