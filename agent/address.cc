#include "agent/address.h"

// Before vm_sockets.h, which needs sockaddr.
#include <sys/socket.h>

#include <linux/vm_sockets.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace lambdo::agent {

static constexpr std::string_view kUnixPrefix = "unix:";
static constexpr int kBacklog = 4;
/// VMADDR_PORT_ANY, which <linux/vm_sockets.h> spells as a negative number.
static constexpr uint32_t kAnyPort = UINT32_MAX;

union SocketAddress {
  sockaddr any;
  sockaddr_vm vsock;
  sockaddr_un local;
};

static SocketAddress socket_address(const Address& address, unsigned cid, socklen_t& len_bytes) {
  SocketAddress result{};
  if (address.unix_path.empty()) {
    result.vsock.svm_family = AF_VSOCK;
    result.vsock.svm_cid = cid;
    result.vsock.svm_port = address.port;
    len_bytes = sizeof result.vsock;
    return result;
  }
  result.local.sun_family = AF_UNIX;
  std::memcpy(result.local.sun_path, address.unix_path.data(), address.unix_path.size());
  len_bytes = sizeof result.local;
  return result;
}

static std::string shown(const Address& address) {
  return address.unix_path.empty() ? "vsock port " + std::to_string(address.port) : address.unix_path;
}

static Result<Fd> open_socket(const Address& address, int flags) {
  Fd fd(::socket(address.unix_path.empty() ? AF_VSOCK : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!fd.valid()) return fail_errno("socket for " + shown(address));
  return fd;
}

Result<Address> parse_address(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) {
    text.remove_prefix(kUnixPrefix.size());
    if (text.empty() || text.size() >= sizeof sockaddr_un{}.sun_path) {
      return fail(Code::invalid_argument, "a Unix socket's path has 1 to 107 bytes");
    }
    return Address{.unix_path = std::string(text)};
  }
  const auto port = parse_uint(text);
  if (!port || *port < 1 || *port >= kAnyPort) {
    return fail(Code::invalid_argument, "not a port: " + std::string(text));
  }
  return Address{.port = static_cast<uint32_t>(*port)};
}

Result<Fd> connect_to_host(const Address& address) {
  Fd fd = TRY(open_socket(address, 0));
  socklen_t len_bytes = 0;
  const SocketAddress to = socket_address(address, VMADDR_CID_HOST, len_bytes);
  if (::connect(fd.get(), &to.any, len_bytes) < 0) return fail_errno("connect to " + shown(address));
  return fd;
}

Result<Fd> listen_for_host(const Address& address) {
  Fd fd = TRY(open_socket(address, SOCK_NONBLOCK));
  if (!address.unix_path.empty()) ::unlink(address.unix_path.c_str());
  socklen_t len_bytes = 0;
  const SocketAddress at = socket_address(address, VMADDR_CID_ANY, len_bytes);
  if (::bind(fd.get(), &at.any, len_bytes) < 0) return fail_errno("bind " + shown(address));
  if (::listen(fd.get(), kBacklog) < 0) return fail_errno("listen on " + shown(address));
  return fd;
}

Fd accept_from_host(int listener) {
  SocketAddress from{};
  socklen_t len_bytes = sizeof from;
  Fd fd(::accept4(listener, &from.any, &len_bytes, SOCK_CLOEXEC | SOCK_NONBLOCK));
  // The guest's own programs could reach the port over a loopback transport.
  if (fd.valid() && from.any.sa_family == AF_VSOCK && from.vsock.svm_cid != VMADDR_CID_HOST) fd.reset();
  return fd;
}

}  // namespace lambdo::agent
