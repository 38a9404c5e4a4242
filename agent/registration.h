#pragma once

#include <string>

#include "agent/address.h"

namespace lambdo::agent {

/// Registers with the host's LambdoApiService at `host`, as a guest that listens on `port` and is known by
/// `token`, then says that it is ready. Returns the id that the host gave. The message says who failed.
Result<std::string> register_with_host(const Address& host, uint32_t port, const std::string& token);

}  // namespace lambdo::agent
