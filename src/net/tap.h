// Makes and opens TAPs, the interfaces of guests that are VMs.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::net {

struct TapOptions {
  std::string name;
  /// Who may open it later without rights over the network. With none, whoever has the rights.
  std::optional<uid_t> owner;
  /// It outlives its descriptor. Otherwise the kernel removes it when the last copy of the descriptor is
  /// closed, however its process ended.
  bool persistent = false;
};

/// Makes a TAP: an Ethernet interface whose other end is the descriptor. Every frame has a 12-byte
/// virtio_net_hdr_mrg_rxbuf in front of it (virtio 1.2, 5.1.6), little-endian, as a virtio-net device of
/// version 1 has them; no offloads are set. The descriptor does not block. The interface is down, and in the
/// calling thread's network namespace. Errors: EEXIST where there is an interface of this name; unavailable
/// without /dev/net/tun. May block, and so may closing the descriptor, for tens of milliseconds.
Result<Fd> create_tap(const TapOptions& options);

/// Opens a persistent TAP again.
Result<Fd> open_tap(const std::string& name);
/// It ends with its descriptor, or stays.
Result<> set_tap_persistent(const Fd& tap, bool persistent);

}  // namespace lambdo::net
