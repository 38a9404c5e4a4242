#include "peer_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "base/check.h"

namespace lambdo::http {

static constexpr int kPatienceMs = 10'000;

static bool is_readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, kPatienceMs) == 1;
}

static Fd connect_to(uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) socket.reset();
  return socket;
}

std::optional<std::string> Peer::read_request() {
  std::array<char, 4096> piece{};
  size_t needed = SIZE_MAX;
  while (buffer_.size() < needed) {
    const size_t head_end = buffer_.find("\r\n\r\n");
    if (head_end != std::string::npos && needed == SIZE_MAX) {
      needed = head_end + 4;
      const size_t length = buffer_.find("Content-Length: ");
      if (length < head_end) needed += std::strtoul(buffer_.c_str() + length + 16, nullptr, 10);
      continue;
    }
    if (!is_readable(socket_.get())) return std::nullopt;
    const ssize_t count = ::recv(socket_.get(), piece.data(), piece.size(), 0);
    if (count <= 0) return std::nullopt;
    buffer_.append(piece.data(), static_cast<size_t>(count));
  }
  std::string request = buffer_.substr(0, needed);
  buffer_.erase(0, needed);
  return request;
}

bool Peer::write(std::string_view bytes) {
  while (!bytes.empty()) {
    pollfd entry{socket_.get(), POLLOUT, 0};
    if (::poll(&entry, 1, kPatienceMs) != 1) return false;
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

bool Peer::write_bytewise(std::string_view bytes) {
  const int on = 1;
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  for (const char& byte : bytes) {
    if (!write({&byte, 1})) return false;
    // Long enough for the reader to take most bytes one by one; the test holds whether it does or not.
    ::usleep(50);
  }
  return true;
}

bool Peer::ended() {
  std::array<char, 4096> piece{};
  while (is_readable(socket_.get())) {
    if (::recv(socket_.get(), piece.data(), piece.size(), 0) <= 0) return true;
  }
  return false;
}

void Peer::relay_to(uint16_t port, Relay relay) {
  const Fd other = connect_to(port);
  if (!other.valid()) return;
  std::array<char, 16384> piece{};
  size_t passed = 0;
  while (true) {
    std::array<pollfd, 2> entries = {pollfd{socket_.get(), POLLIN, 0}, pollfd{other.get(), POLLIN, 0}};
    if (::poll(entries.data(), entries.size(), kPatienceMs) <= 0) return;
    if (entries[0].revents != 0) {
      const ssize_t count = ::recv(socket_.get(), piece.data(), piece.size(), 0);
      if (count <= 0) return;
      if (::send(other.get(), piece.data(), static_cast<size_t>(count), MSG_NOSIGNAL) != count) return;
    }
    if (entries[1].revents != 0) {
      const ssize_t count = ::recv(other.get(), piece.data(), piece.size(), 0);
      if (count <= 0) return;
      const auto len_bytes = static_cast<size_t>(count);
      const bool is_there = passed <= kDamageAt && kDamageAt < passed + len_bytes;
      if (is_there && relay == Relay::damaged) piece[kDamageAt - passed] ^= 1;
      if (is_there && relay == Relay::broken_off) return;
      passed += len_bytes;
      const std::string_view bytes(piece.data(), len_bytes);
      if (!(relay == Relay::bytewise ? write_bytewise(bytes) : write(bytes))) return;
    }
  }
}

PeerServer::PeerServer(std::function<void(Peer&)> handler, const char* address)
    : handler_(std::move(handler)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in place{};
  place.sin_family = AF_INET;
  CHECK(::inet_pton(AF_INET, address, &place.sin_addr) == 1);
  socklen_t len_bytes = sizeof place;
  CHECK(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&place), len_bytes) == 0);
  CHECK(::listen(listener_.get(), 64) == 0);
  CHECK(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&place), &len_bytes) == 0);
  port_ = ntohs(place.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

PeerServer::~PeerServer() {
  stopping_ = true;
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  {
    const std::lock_guard lock(mutex_);
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
}

void PeerServer::accept_all() {
  while (!stopping_) {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket.valid()) continue;
    auto peer = std::make_shared<Peer>(std::move(socket), connections_++);
    const std::lock_guard lock(mutex_);
    open_.push_back(peer->fd());
    threads_.emplace_back([this, held = std::move(peer)]() mutable {
      handler_(*held);
      const std::lock_guard closing(mutex_);
      std::erase(open_, held->fd());
      held.reset();
    });
  }
}

void PeerServer::record(std::string request) {
  const std::lock_guard lock(mutex_);
  recorded_.push_back(std::move(request));
}

std::vector<std::string> PeerServer::recorded() {
  const std::lock_guard lock(mutex_);
  return recorded_;
}

}  // namespace lambdo::http
