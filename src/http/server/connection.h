#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "http/message.h"
#include "http/server/byte_budget.h"
#include "http/server/parser.h"
#include "http/server/receiver.h"
#include "http/server/server.h"
#include "reactor/cancel.h"

namespace lambdo::http {

/// One client's connection: reads requests and answers them one after the other, in order.
class Connection final : private reactor::Timer {
 public:
  /// `context` outlives the connection.
  Connection(ServerContext& context, Fd socket);

  /// Serves until the client or the server ends the connection.
  Task<> serve();
  /// Says 503 instead.
  Task<> refuse();
  /// ServerContext::draining or closing has been set: an idle connection closes now, a busy one after its
  /// response. One that came late waits for its one request until the closing.
  void drain() { receiver_.changed().notify_all(); }
  /// Whether it came when the server was draining already.
  [[nodiscard]] bool is_late() const { return late_; }
  /// Ends it, and cancels the request that runs.
  void abort();

 private:
  enum class Phase { idle, header, body, handling, writing, lingering };
  class StreamWriter;

  Task<bool> receive_request();
  Task<bool> advance_parser();
  Task<bool> give_up_reading();
  Task<bool> answer_request();
  Task<bool> send_stream(Response& response, CancelToken client_gone);
  Task<> send_refusal(Response response);
  Task<bool> send(std::string_view data);
  Task<> close();
  [[nodiscard]] bool may_wait_for_request() const;
  [[nodiscard]] int64_t write_time_left_ms() const;
  void enter(Phase phase, int64_t timeout_ms);
  void look_again(int64_t now_ns);
  void fire() override;

  ServerContext* context_;
  Fd socket_;
  Receiver receiver_;
  Request request_;
  RequestParser parser_;
  ByteBudget::Share request_share_;
  ByteBudget::Share response_share_;
  std::string output_;
  reactor::CancelSource abort_;
  const bool late_;
  Phase phase_ = Phase::idle;
  int64_t deadline_ns_ = 0;
  int64_t writing_ns_ = 0;                                  ///< waited for the client to take this response
  uint64_t written_bytes_ = 0;                              ///< of it
  int64_t armed_ns_ = std::numeric_limits<int64_t>::max();  ///< when the timer fires
  int64_t shortest_timeout_ms_;
  bool timed_out_ = false;
  bool broken_ = false;  ///< nothing more can be sent
  bool linger_ = false;  ///< the client may be sending what nobody will read
};

}  // namespace lambdo::http
