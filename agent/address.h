#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::agent {

/// Where host and guest meet: a vsock port (vsock(7)), or a Unix socket where there is no machine between.
struct Address {
  uint32_t port = 0;
  std::string unix_path;  ///< where not empty, instead of the port
};

/// A port from 1 to 4294967294, or "unix:PATH" with a path that fits into a socket's address.
Result<Address> parse_address(std::string_view text);

/// Connects to the host; waits 2 s at most where the host does not answer at all (vsock(7),
/// SO_VM_SOCKETS_CONNECT_TIMEOUT).
Result<Fd> connect_to_host(const Address& address);

/// Listens in the guest. An existing Unix socket of that name is replaced.
Result<Fd> listen_for_host(const Address& address);

/// The next connection; none (an invalid Fd) where there is no more, or where it is not the host's.
Fd accept_from_host(int listener);

}  // namespace lambdo::agent
