#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "reactor/event.h"
#include "reactor/operations.h"

namespace lambdo::http {

/// Receives from a socket for as long as there is room, whether or not anybody waits: one multishot receive
/// serves many requests (io_uring_prep_recv_multishot(3)), and the end of the connection is noticed at once
/// while a request is handled. When the buffer is full it only watches for the peer hanging up, which shows
/// as long as what the peer sent before fits into the socket.
///
/// A single receive can bring the buffer over its capacity by what the socket held at that moment, at most
/// the reactor's buffer pool.
class Receiver final : private reactor::Operation {
 public:
  /// `fd` outlives the receiver. `bytes_in` is a counter to add to.
  Receiver(reactor::Reactor& reactor, int fd, size_t capacity_bytes, uint64_t& bytes_in);
  /// `stop` must have returned where `start` was called.
  ~Receiver() = default;

  void start() { arm(); }
  /// Ends what is in flight.
  reactor::Task<> stop();

  /// What has come and was not consumed.
  [[nodiscard]] std::string_view data() const { return std::string_view(buffer_).substr(consumed_); }
  void consume(size_t len_bytes);
  /// Nothing more comes: the peer ended the stream or the connection broke.
  [[nodiscard]] bool ended() const { return ended_; }
  /// Notified after every change of `data` and `ended`.
  [[nodiscard]] reactor::Event& changed() { return changed_; }
  /// Cancels `source` as soon as the peer has gone, or now; nullptr ends the watch.
  void cancel_when_gone(reactor::CancelSource* source);
  /// Drops what has come and what comes from now on.
  void discard();
  [[nodiscard]] uint64_t discarded_bytes() const { return discarded_bytes_; }

 private:
  /// Moves a cancellation out of the completion, where no foreign code may run, to the loop's timers.
  class GoneNotice final : private reactor::Timer {
   public:
    explicit GoneNotice(reactor::Reactor& reactor) : Timer(reactor) {}
    void give() { arm(0); }
    reactor::CancelSource* source = nullptr;

   private:
    void fire() override;
  };
  enum class Mode { multishot, single, watch };

  void complete(int result, uint32_t flags) override;
  void take(std::span<const std::byte> bytes);
  void take_result(int result, uint32_t flags);
  void arm();
  void rearm_now();
  [[nodiscard]] bool has_room() const { return discarding_ || buffer_.size() - consumed_ < capacity_bytes_; }

  int fd_;
  size_t capacity_bytes_;
  uint64_t* bytes_in_;
  reactor::Event changed_;
  GoneNotice notice_;
  Mode mode_ = Mode::multishot;
  std::string buffer_;
  size_t consumed_ = 0;
  std::vector<std::byte> single_buffer_;
  uint64_t discarded_bytes_ = 0;
  bool pool_empty_ = false;
  bool ended_ = false;
  bool gone_ = false;
  bool discarding_ = false;
  bool stopping_ = false;
  bool cancelling_ = false;
};

}  // namespace lambdo::http
