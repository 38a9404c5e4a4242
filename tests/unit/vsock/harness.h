#pragma once

#include <memory>
#include <utility>

#include "guest.h"
#include "reactor/reactor.h"
#include "reactor/task.h"
#include "vsock/device.h"

namespace lambdo::vsock::testing {

using reactor::Reactor;
using reactor::Task;

/// Runs `body(reactor, guest)` against a started device that offers 16 receive buffers, then stops it.
template <typename Body>
void with_guest(Body body, VsockOptions options = {}) {
  auto reactor = Reactor::create();
  CHECK(reactor.has_value());
  Guest guest(**reactor, options);
  CHECK(guest.start());
  guest.offer_receive(16);
  (*reactor)->run(body(**reactor, guest));
  (*reactor)->run(guest.device.stop());
  CHECK(guest.device.connections() == 0 && (*reactor)->in_flight() == 0);
}

/// Keeps the sockets of accepted connections.
struct Accepting {
  void listen(Guest& guest, uint32_t port) {
    guest.device.listen(port, [this](Fd socket, uint32_t peer_port) {
      sockets.push_back(std::move(socket));
      peer_ports.push_back(peer_port);
    });
  }
  std::vector<Fd> sockets;
  std::vector<uint32_t> peer_ports;
};

/// A guest's connection to the host's `host_port`, established; gives the host's socket.
inline Fd open_connection(Guest& guest, uint32_t guest_port, uint32_t host_port,
                          uint32_t buf_alloc = 256 << 10) {
  Accepting accepting;
  accepting.listen(guest, host_port);
  Header request = packet(Op::request, guest_port, host_port);
  request.buf_alloc = buf_alloc;
  guest.send(request);
  const auto response = guest.take();
  CHECK(response && response->is(Op::response) && accepting.sockets.size() == 1);
  guest.device.listen(host_port, nullptr);
  return std::move(accepting.sockets.front());
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// What can be read from `socket` now, without waiting; `ended` says whether its end was seen.
inline std::string read_now(const Fd& socket, bool* ended = nullptr) {
  std::string text;
  std::array<char, 65536> block;
  while (true) {
    const ssize_t count = ::recv(socket.get(), block.data(), block.size(), MSG_DONTWAIT);
    if (ended != nullptr) *ended = count == 0;
    if (count <= 0) return text;
    text.append(block.data(), static_cast<size_t>(count));
  }
}
inline size_t write_now(const Fd& socket, std::string_view text) {
  const ssize_t count = ::send(socket.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  return count < 0 ? 0 : static_cast<size_t>(count);
}

}  // namespace lambdo::vsock::testing
