#include "http/server/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "base/text.h"
#include "http/errors.h"
#include "http/server/response_head.h"
#include "reactor/operations.h"
#include "reactor/stream.h"

namespace lambdo::http {

/// What may wait of a client's later requests while one is handled.
static constexpr size_t kReceiveCapacityBytes = 64 << 10;
/// A larger body is sent from where it is, not copied behind its head.
static constexpr size_t kMaxCopiedBodyBytes = 32 << 10;
static constexpr int64_t kLingerMs = 2000;
static constexpr uint64_t kMaxLingerBytes = 64 << 20;
/// No deadline, in whatever unit.
static constexpr int64_t kForever = std::numeric_limits<int64_t>::max();

static Response over_budget_response() {
  Response response =
      error_response({Code::overloaded, 0,
                      "the server holds as much of other requests and answers as it may; try again later"});
  response.status = 503;
  return response;
}

/// Frames what a handler streams.
class Connection::StreamWriter final : public BodyWriter {
 public:
  StreamWriter(Connection& connection, bool chunked) : connection_(&connection), chunked_(chunked) {}

  Task<Result<>> write(std::string_view data) override {
    if (data.empty()) co_return Result<>{};
    bool sent = true;
    if (chunked_) {
      std::string& out = connection_->output_;
      std::array<char, 16> digits{};
      const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), data.size(), 16).ptr;
      out.assign(digits.data(), end);
      out += "\r\n";
      out += data;
      out += "\r\n";
      sent = co_await connection_->send(out);
    } else {
      sent = co_await connection_->send(data);
    }
    const bool timed_out = connection_->timed_out_;
    connection_->enter(Phase::handling, kForever);
    if (sent) co_return Result<>{};
    if (timed_out) co_return fail(Code::timeout, "the client does not read the response");
    if (connection_->abort_.cancelled()) co_return fail(Code::cancelled, "the server stops");
    co_return fail(Code::closed, "the client closed the connection");
  }

 private:
  Connection* connection_;
  bool chunked_;
};

Connection::Connection(ServerContext& context, Fd socket)
    : Timer(context.reactor),
      context_(&context),
      socket_(std::move(socket)),
      receiver_(context.reactor, socket_.get(), kReceiveCapacityBytes, context.statistics.bytes_in),
      parser_({.max_header_bytes = context.options.max_header_bytes,
               .max_body_bytes = context.options.max_body_bytes},
              request_),
      request_share_(context.budget),
      response_share_(context.budget),
      late_(context.draining) {
  const ServerOptions& options = context.options;
  shortest_timeout_ms_ = std::min({options.header_timeout_ms, options.body_timeout_ms,
                                   options.idle_timeout_ms, options.write_timeout_ms});
}

Task<> Connection::serve() {
  receiver_.start();
  while (co_await receive_request()) {
    if (!co_await answer_request()) break;
  }
  co_await close();
}

Task<> Connection::refuse() {
  receiver_.start();
  linger_ = true;
  Response response = error_response({Code::overloaded, 0, "too many connections"});
  response.status = 503;
  context_->head_writer.append(output_, response, request_, true);
  output_ += response.body;
  co_await send(output_);
  co_await close();
}

void Connection::abort() {
  broken_ = true;
  abort_.cancel();
  receiver_.changed().notify_all();
}

// ---- time

/// Starts a phase that may take so long. The timer fires at least every shortest timeout and looks then, so
/// it is hardly ever moved: requests cost no work on the timer heap.
void Connection::enter(Phase phase, int64_t timeout_ms) {
  phase_ = phase;
  timed_out_ = false;
  if (timeout_ms == kForever) {
    deadline_ns_ = kForever;
    return;
  }
  const int64_t now_ns = reactor().now_ns();
  deadline_ns_ = now_ns + timeout_ms * 1'000'000;
  if (armed_ns_ > deadline_ns_) look_again(now_ns);
}

void Connection::look_again(int64_t now_ns) {
  armed_ns_ = std::min(deadline_ns_, now_ns + shortest_timeout_ms_ * 1'000'000);
  arm(armed_ns_);
}

void Connection::fire() {
  armed_ns_ = kForever;
  const int64_t now_ns = reactor().now_ns();
  if (now_ns < deadline_ns_) {
    if (deadline_ns_ != kForever) look_again(now_ns);
    return;
  }
  timed_out_ = true;
  if (phase_ != Phase::lingering) ++context_->statistics.timeouts;
  if (phase_ == Phase::writing) abort_.cancel();
  receiver_.changed().notify_all();
}

// ---- reading

/// Waits for the next request; false where the connection is to be closed, an answer having been sent where
/// one is due.
Task<bool> Connection::receive_request() {
  parser_.reset();
  writing_ns_ = 0;
  written_bytes_ = 0;
  enter(Phase::idle, context_->options.idle_timeout_ms);
  while (true) {
    if (!receiver_.data().empty()) {
      if (!co_await advance_parser()) co_return false;
      if (parser_.state() == RequestParser::State::message_complete) co_return true;
      continue;
    }
    const bool idle = !parser_.started();
    if (broken_ || (idle && !may_wait_for_request())) co_return false;
    if (timed_out_ || receiver_.ended()) co_return co_await give_up_reading();
    (void)co_await receiver_.changed().wait();
  }
}

bool Connection::may_wait_for_request() const {
  if (receiver_.ended() || context_->closing) return false;
  return late_ || !context_->draining;
}

/// Feeds the parser with what is there; false where the connection is to be closed.
Task<bool> Connection::advance_parser() {
  receiver_.consume(parser_.feed(receiver_.data()));
  const ServerOptions& options = context_->options;
  if (!request_share_.resize(request_.body.size())) {
    ++context_->statistics.over_budget;
    std::string().swap(request_.body);
    request_share_.release();
    co_await send_refusal(over_budget_response());
    co_return false;
  }
  switch (parser_.state()) {
    case RequestParser::State::error:
      ++context_->statistics.parse_errors;
      co_await send_refusal(
          error_response(parser_.refusal().status, parser_.refusal().code, parser_.refusal().message));
      co_return false;
    case RequestParser::State::headers_complete:
      // Whoever sends the body anyway needs no leave (RFC 9110, 10.1.1).
      if (receiver_.data().empty() && request_.version == Version::http_1_1 &&
          request_.headers.find("expect")) {
        if (!co_await send("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
      }
      enter(Phase::body, options.body_timeout_ms);
      break;
    case RequestParser::State::needs_more:
      if (phase_ == Phase::idle && parser_.started()) enter(Phase::header, options.header_timeout_ms);
      break;
    case RequestParser::State::message_complete:
      break;
  }
  co_return true;
}

/// Ends a connection in the middle of waiting: silently between requests, else with the reason.
Task<bool> Connection::give_up_reading() {
  const bool in_body = parser_.in_body();
  if (!parser_.started()) co_return false;
  if (timed_out_) {
    co_await send_refusal(
        error_response(408, Code::timeout,
                       in_body ? "the request's body took too long" : "the request's head took too long"));
  } else {
    ++context_->statistics.parse_errors;
    co_await send_refusal(error_response(400, Code::invalid_argument,
                                         in_body ? "the connection ended within the request's body"
                                                 : "the connection ended within the request's head"));
  }
  co_return false;
}

Task<> Connection::send_refusal(Response response) {
  linger_ = true;
  output_.clear();
  context_->head_writer.append(output_, response, request_, true);
  output_ += response.body;
  co_await send(output_);
}

// ---- answering

/// Runs the handler and sends what it gives; false where no further request is served.
Task<bool> Connection::answer_request() {
  reactor::CancelSource client_gone(abort_.token());
  receiver_.cancel_when_gone(&client_gone);
  ++context_->statistics.requests;
  enter(Phase::handling, kForever);
  Response response = co_await context_->router.dispatch(request_, client_gone.token());

  std::string().swap(request_.body);
  request_share_.release();
  const size_t held_bytes = response.stream ? response.stream_held_bytes : response.body.size();
  if (held_bytes > kMaxCopiedBodyBytes && !response_share_.resize(held_bytes)) {
    ++context_->statistics.over_budget;
    response = over_budget_response();
  }
  const bool body = has_body(request_, response);
  const bool until_end = body && response.stream && request_.version == Version::http_1_0;
  const bool keep = request_.keep_alive && !context_->draining && !until_end;
  output_.clear();
  context_->head_writer.append(output_, response, request_, !keep);
  bool sent = false;
  if (body && response.stream) {
    sent = co_await send_stream(response, client_gone.token());
  } else if (body && response.body.size() > kMaxCopiedBodyBytes) {
    sent = co_await send(output_) && co_await send(response.body);
  } else {
    if (body) output_ += response.body;
    sent = co_await send(output_);
  }
  receiver_.cancel_when_gone(nullptr);
  // A piece of a stream may have made it large, and an idle connection should hold little.
  if (output_.capacity() > 2 * kMaxCopiedBodyBytes) std::string().swap(output_);
  response_share_.release();
  // What the client sent meanwhile would make the kernel answer the close with a reset.
  linger_ = !keep && !receiver_.data().empty();
  co_return sent&& keep;
}

Task<bool> Connection::send_stream(Response& response, CancelToken client_gone) {
  if (!co_await send(output_)) co_return false;
  const bool chunked = request_.version == Version::http_1_1;
  StreamWriter writer(*this, chunked);
  enter(Phase::handling, kForever);
  const auto written = co_await response.stream(writer, client_gone);
  if (!written || broken_) {
    broken_ = true;
    co_return false;
  }
  co_return !chunked || co_await send("0\r\n\r\n");
}

/// How long the client may now take until it takes something.
int64_t Connection::write_time_left_ms() const {
  const ServerOptions& options = context_->options;
  const auto earned_ms = static_cast<int64_t>(written_bytes_ * 1000 / options.min_write_bytes_per_s);
  const int64_t left_ms = options.write_timeout_ms + earned_ms - writing_ns_ / 1'000'000;
  return std::clamp<int64_t>(left_ms, 0, options.write_timeout_ms);
}

/// Sends all of it; false where the connection is of no more use.
Task<bool> Connection::send(std::string_view data) {
  while (!data.empty() && !broken_) {
    const int64_t start_ns = reactor().now_ns();
    enter(Phase::writing, write_time_left_ms());
    const auto count =
        co_await reactor::SendOp(context_->reactor, socket_.get(), reactor::as_bytes(data), abort_.token());
    if (!count) {
      broken_ = true;
      break;
    }
    context_->statistics.bytes_out += *count;
    written_bytes_ += *count;
    writing_ns_ += reactor().now_ns() - start_ns;
    data.remove_prefix(*count);
  }
  co_return !broken_;
}

/// Lets the client read the last answer: closing a socket with unread data resets the connection, and the
/// answer is lost with it (RFC 9112, 9.6).
Task<> Connection::close() {
  if (linger_ && !broken_) {
    ::shutdown(socket_.get(), SHUT_WR);
    receiver_.discard();
    enter(Phase::lingering, kLingerMs);
    while (!receiver_.ended() && !timed_out_ && !broken_ && receiver_.discarded_bytes() < kMaxLingerBytes) {
      (void)co_await receiver_.changed().wait();
    }
  }
  co_await receiver_.stop();
}

}  // namespace lambdo::http
