#include "namespace/network_namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"
#include "base/sockets.h"
#include "base/syscalls.h"

namespace lambdo::namespaces {

namespace {

// What a namespace's processes can read about its past. No socket lingers without leaving its mark here, and
// flow labels are the one thing beside sockets that a process without rights can leave behind. What
// /proc/net/sockstat says beyond is about the whole machine.
constexpr const char* kVisible[] = {"/proc/self/net/dev", "/proc/self/net/snmp", "/proc/self/net/snmp6",
                                    "/proc/self/net/netstat", "/proc/self/net/ip6_flowlabel"};

/// Brings the launcher back into its own network namespace when this dies.
class ReturnToOwnNamespace {
 public:
  explicit ReturnToOwnNamespace(const Fd& own) : own_(&own) {}
  ReturnToOwnNamespace(const ReturnToOwnNamespace&) = delete;
  ReturnToOwnNamespace& operator=(const ReturnToOwnNamespace&) = delete;
  // A launcher in a sandbox's namespace would be no launcher any more.
  ~ReturnToOwnNamespace() { CHECK(::setns(own_->get(), CLONE_NEWNET) == 0); }

 private:
  const Fd* own_;
};

std::string read_view() {
  std::string view;
  for (const char* path : kVisible) {
    // A protocol that this kernel has not leaves nothing to read.
    if (const auto text = sys::read_file(path)) view += *text;
  }
  return view;
}

}  // namespace

Result<NetworkNamespaces> NetworkNamespaces::open() {
  NetworkNamespaces namespaces;
  namespaces.own_ = TRY(sys::open("/proc/self/ns/net", O_RDONLY));
  // Who is root in a user namespace of its own only cannot come back to the host's: it moves into one of its
  // own for good.
  if (::setns(namespaces.own_.get(), CLONE_NEWNET) < 0) {
    if (::unshare(CLONE_NEWNET) < 0) return fail_errno("new network namespace for the launcher");
    namespaces.own_ = TRY(sys::open("/proc/self/ns/net", O_RDONLY));
  }
  // Found out now rather than at the first sandbox.
  namespaces.idle_.push_back(TRY(namespaces.create()));
  return namespaces;
}

Result<NetworkNamespace> NetworkNamespaces::create() const {
  const ReturnToOwnNamespace at_end(own_);
  if (::unshare(CLONE_NEWNET) < 0) return fail_errno("new network namespace");
  TRY(sys::raise_loopback());
  NetworkNamespace created;
  created.handle = TRY(sys::open("/proc/self/ns/net", O_RDONLY));
  created.view = read_view();
  return created;
}

Result<std::string> NetworkNamespaces::view_of(const Fd& handle) const {
  const ReturnToOwnNamespace at_end(own_);
  if (::setns(handle.get(), CLONE_NEWNET) < 0) return fail_errno("enter network namespace");
  return read_view();
}

Result<NetworkNamespace> NetworkNamespaces::take() {
  if (idle_.empty()) return create();
  NetworkNamespace taken = std::move(idle_.back());
  idle_.pop_back();
  return taken;
}

bool NetworkNamespaces::give_back(NetworkNamespace used) {
  if (idle_.size() >= kMaxIdle) return false;
  const Result<std::string> view = view_of(used.handle);
  if (!view || *view != used.view) return false;
  idle_.push_back(std::move(used));
  return true;
}

}  // namespace lambdo::namespaces
