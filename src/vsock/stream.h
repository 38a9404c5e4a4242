#pragma once

#include <cstddef>
#include <cstdint>

#include "base/fd.h"
#include "reactor/reactor.h"
#include "virtio/chain.h"
#include "vsock/backlog.h"
#include "vsock/connection.h"
#include "vsock/dial.h"

namespace lambdo::vsock {

class Stream;

/// Who looks after streams.
class StreamOwner {
 public:
  /// A socket became ready, or a watch on it ended: Stream::note_ready() is due, later and from the loop.
  virtual void stream_ready(Stream& stream) = 0;

 protected:
  ~StreamOwner() = default;
};

/// A place in a StreamList; leaves it when it dies.
class StreamLink {
 public:
  explicit StreamLink(Stream& stream) : stream_(&stream) {}
  StreamLink(const StreamLink&) = delete;
  StreamLink& operator=(const StreamLink&) = delete;
  ~StreamLink() { unlink(); }
  void unlink();

 private:
  friend class StreamList;
  StreamLink() : stream_(nullptr) {}
  Stream* stream_;
  StreamLink* previous_ = this;
  StreamLink* next_ = this;
};

/// Streams in the order they came, each at most once. Allocates nothing.
class StreamList {
 public:
  [[nodiscard]] bool empty() const { return ends_.next_ == &ends_; }
  /// At the end, unless it is in a list already.
  void add(StreamLink& link);
  /// The first, taken out; nullptr where there is none.
  Stream* take();

 private:
  StreamLink ends_;
};

/// Waits once for a socket to be ready.
class Watch final : public reactor::Operation {
 public:
  Watch(reactor::Reactor& reactor, Stream& stream) : Operation(reactor), stream_(&stream) {}

  void arm(int socket, unsigned events);
  void cancel() { request_cancel(); }
  [[nodiscard]] bool is_armed() const { return in_flight(); }
  /// What became ready since the last call: POLL* events.
  unsigned take_events();

 private:
  void complete(int result, uint32_t flags) override;

  Stream* stream_;
  unsigned events_ = 0;
};

/// One connection with its socket: moves bytes between chains and the socket, never waiting, and watches the
/// socket where it could not. Stays where it is, and dies only when is_idle().
class Stream {
 public:
  enum class Received {
    bytes,
    nothing,  ///< for now
    end,      ///< the host sends no more
    broken,   ///< the host closed its end before it had read everything, or memory failed
  };

  Stream(reactor::Reactor& reactor, StreamOwner& owner, const Connection& connection, Fd socket,
         uint32_t buffer_bytes);

  Connection connection;
  StreamLink ready_link{*this};
  StreamLink send_link{*this};
  /// Who waits for the answer to the host's call, if somebody does.
  Dial* dial = nullptr;
  /// The guest answered the host's call, or never will. Nothing where nobody waits.
  void answer_dial(bool established);

  /// Takes the payload of an admitted packet: to the socket what it takes, the rest to the backlog.
  void take(const virtio::DescriptorChain& chain, uint32_t len_bytes);
  /// The guest shut down directions: ends those of the socket, once the backlog is written.
  void follow_guest_shutdown();

  /// Whether the socket may have bytes for the guest.
  [[nodiscard]] bool is_readable() const { return is_readable_; }
  /// Receives up to `max_bytes` (not 0) behind the headers' room of `chain`; `len_bytes` says how many.
  Received receive(const virtio::DescriptorChain& chain, uint32_t max_bytes, uint32_t& len_bytes);

  /// Handles what the watches found.
  void note_ready();
  /// Watches for what is missing.
  void watch();

  /// The guest is gone: bytes are still owed to the host, none is taken from it.
  void leave();
  /// Ends the socket both ways; nothing is owed any more.
  void close();
  [[nodiscard]] bool has_backlog() const { return !backlog_.empty(); }
  [[nodiscard]] bool is_idle() const { return !input_.is_armed() && !output_.is_armed(); }

 private:
  friend Watch;
  void flush();
  void host_stopped_reading();

  StreamOwner& owner_;
  Fd socket_;
  Backlog backlog_;
  Watch input_;
  Watch output_;
  bool is_readable_ = false;
  bool has_hung_up_ = false;  // the host closed its end
  bool has_left_ = false;
};

}  // namespace lambdo::vsock
