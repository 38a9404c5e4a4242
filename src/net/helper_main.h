// The network helper's process: it reads requests and does with HostNetwork what they ask for.
#pragma once

#include "base/fd.h"
#include "net/host_network.h"

namespace lambdo::net {

/// The network helper's process from fork to end: it keeps the rights over the network that its server gives
/// up, opens the HostNetwork, and does what `socket` asks for, one request at a time (net/helper_protocol.h).
/// Makes ports while nobody asks. When the socket closes it removes everything and returns the exit status.
///
/// Waits a moment for a predecessor that is still cleaning up after its server was killed.
int helper_main(const HostNetworkSettings& settings, Fd socket);

}  // namespace lambdo::net
