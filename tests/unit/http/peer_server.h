#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/fd.h"

namespace lambdo::http {

/// The server's end of one connection, blocking; every wait ends after ten seconds.
class Peer {
 public:
  Peer(Fd socket, size_t index) : socket_(std::move(socket)), index_(index) {}

  /// Head and body (Content-Length only) of the next request; nullopt where the client has gone.
  std::optional<std::string> read_request();
  /// False where the client has gone.
  bool write(std::string_view bytes);
  /// Every byte in a packet of its own.
  bool write_bytewise(std::string_view bytes);
  /// Whether the client ends the connection.
  bool ended();
  /// What becomes of the bytes for the client that a relay passes on.
  enum class Relay {
    as_they_are,
    bytewise,   ///< each in a packet of its own
    damaged,    ///< one bit is changed after kDamageAt bytes
    broken_off  ///< the connection ends after kDamageAt bytes
  };
  static constexpr size_t kDamageAt = 50'000;
  /// Copies both ways between the client and a port of this machine, until either ends.
  void relay_to(uint16_t port, Relay relay = Relay::as_they_are);
  /// How many connections came before this one.
  [[nodiscard]] size_t index() const { return index_; }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  Fd socket_;
  size_t index_;
  std::string buffer_;
};

/// A server on 127.0.0.1 that does with each connection, on a thread, exactly what a function says; the
/// connection ends with it.
class PeerServer {
 public:
  explicit PeerServer(std::function<void(Peer&)> handler, const char* address = "127.0.0.1");
  PeerServer(const PeerServer&) = delete;
  PeerServer& operator=(const PeerServer&) = delete;
  ~PeerServer();

  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] size_t connections() const { return connections_; }
  /// Remembers what a request was, for a test to look at.
  void record(std::string request);
  std::vector<std::string> recorded();

 private:
  void accept_all();

  std::function<void(Peer&)> handler_;
  Fd listener_;
  uint16_t port_ = 0;
  std::atomic<size_t> connections_ = 0;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  std::vector<std::string> recorded_;
  std::vector<std::thread> threads_;
  std::vector<int> open_;
  std::thread acceptor_;
};

}  // namespace lambdo::http
