#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::namespaces {

/// A network namespace with nothing but a loopback interface that is up, and what everybody in it can see.
struct NetworkNamespace {
  Fd handle;
  std::string view;  ///< every counter that its processes may read, as it was when it was new
};

/// Network namespaces for sandboxes, each one's own while it lives.
///
/// Making and removing one costs the kernel as much time as a small program takes, and most programs never
/// send a packet. So one that comes back with all that its past could have left in it (counters, sockets,
/// flow labels) as it was when it was new is used again. Any other is closed. Sandboxes have no rights over
/// it: it belongs to the launcher's user namespace.
///
/// For a single-threaded process that may make network namespaces: calls change the caller's for a moment.
class NetworkNamespaces {
 public:
  /// Kept ready for the next sandboxes, at most.
  static constexpr size_t kMaxIdle = 32;

  static Result<NetworkNamespaces> open();

  /// One that is as new.
  Result<NetworkNamespace> take();
  /// After the last process in it has ended. Reports whether it could be kept.
  bool give_back(NetworkNamespace used);

  [[nodiscard]] size_t idle() const { return idle_.size(); }

 private:
  Result<NetworkNamespace> create() const;
  Result<std::string> view_of(const Fd& handle) const;

  Fd own_;
  std::vector<NetworkNamespace> idle_;
};

}  // namespace lambdo::namespaces
