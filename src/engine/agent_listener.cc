#include "engine/agent_listener.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/ip.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "base/text.h"
#include "lambdo.pb.h"
#include "reactor/event.h"
#include "reactor/stream.h"
#include "reactor/timer.h"
#include "rpc/server_session.h"

namespace lambdo::engine {

namespace proto = grpc_definitions;

static constexpr int64_t kAcceptRetryMs = 100;
static constexpr int64_t kDialRetryMs = 20;
static constexpr uint32_t kMaxPort = 65535;

struct AgentListener::Guest {
  Guest(reactor::Reactor& reactor, reactor::CancelToken parent, std::string at, std::string own_id)
      : address(std::move(at)), id(std::move(own_id)), gone(parent), changed(reactor) {}

  const std::string address;
  const std::string id;
  uint16_t port = 0;  // 0: not registered
  bool ready = false;
  bool failed = false;
  int connections = 0;
  const Connection* registered_by = nullptr;  // while that is open
  reactor::CancelSource gone;
  reactor::Event changed;
};

/// What an agent may call, on one connection.
class AgentListener::Connection final : public rpc::CallHandler {
 public:
  Connection(AgentListenerStatistics& statistics, Guest& guest) : statistics_(statistics), guest_(guest) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (guest_.registered_by == this) guest_.registered_by = nullptr;
  }

  void on_call(rpc::ServerSession& session, int32_t call, std::string_view method,
               std::string request) override {
    if (method == "/grpc_definitions.LambdoApiService/Register") {
      return register_agent(session, call, request);
    }
    if (method == "/grpc_definitions.LambdoApiService/Status") return status(session, call, request);
    session.finish(call, {rpc::StatusCode::unimplemented, "there is no such method"});
  }
  /// Every call is answered at once.
  void on_cancelled(rpc::ServerSession& /*session*/, int32_t /*call*/) override {}

 private:
  void register_agent(rpc::ServerSession& session, int32_t call, const std::string& message) {
    proto::RegisterRequest request;
    if (!request.ParseFromString(message)) {
      return session.finish(call, {rpc::StatusCode::internal, "the request is no RegisterRequest"});
    }
    proto::RegisterResponse response;
    const char* const problem = why_not(request.port());
    if (problem != nullptr) {
      ++statistics_.refused_calls;
      response.set_error(problem);
      return session.finish(call, rpc::frame_message(response));
    }
    ++statistics_.registered;
    guest_.port = static_cast<uint16_t>(request.port());
    guest_.registered_by = this;
    response.set_id(guest_.id);
    session.finish(call, rpc::frame_message(response));
  }

  [[nodiscard]] const char* why_not(uint32_t port) const {
    // An agent whose connection broke before it heard the answer may try again.
    if (guest_.port != 0 && (guest_.ready || guest_.registered_by != nullptr)) {
      return "this guest's agent has registered already";
    }
    return port == 0 || port > kMaxPort ? "this is no port to be reached at" : nullptr;
  }

  void status(rpc::ServerSession& session, int32_t call, const std::string& message) {
    proto::StatusMessage request;
    if (!request.ParseFromString(message)) {
      return session.finish(call, {rpc::StatusCode::internal, "the request is no StatusMessage"});
    }
    if (guest_.port == 0 || request.id() != guest_.id) {
      ++statistics_.refused_calls;
      return session.finish(call, {rpc::StatusCode::not_found, "no agent has this id"});
    }
    guest_.ready |= request.code() == proto::READY;
    guest_.failed |= request.code() == proto::ERROR;
    guest_.changed.notify_all();
    session.finish(call, rpc::frame_message(proto::Empty()));
  }

  AgentListenerStatistics& statistics_;
  Guest& guest_;
};

/// 128 random bits in hex.
static Result<std::string> make_id() {
  std::array<std::byte, 16> bytes;
  TRY(sys::random_bytes(bytes));
  return to_hex(bytes);
}

/// As inet_ntop(3) writes it; nullopt where `text` is no address.
static std::optional<std::string> normal_address(const std::string& text) {
  const auto address = IpAddress::parse(text);
  return address ? std::optional(address->text()) : std::nullopt;
}

static std::string text_of(std::span<const std::byte> bytes) {
  return IpAddress::from_bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()})->text();
}

/// Who is at the other end. IPv4 that came to an IPv6 socket is IPv4. Empty where it is gone already.
static std::string peer_address(const Fd& socket) {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  } address{};
  socklen_t len_bytes = sizeof address;
  if (::getpeername(socket.get(), &address.any, &len_bytes) < 0) return {};
  if (address.any.sa_family == AF_INET) return text_of(std::as_bytes(std::span(&address.v4.sin_addr, 1)));
  if (address.any.sa_family != AF_INET6) return {};
  constexpr size_t kV4At = 12;
  const auto bytes = std::as_bytes(std::span(&address.v6.sin6_addr, 1));
  return text_of(IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr) ? bytes.subspan(kV4At) : bytes);
}

AgentListener::AgentListener(reactor::Reactor& reactor, AgentListenerOptions options)
    : reactor_(reactor), options_(std::move(options)), scope_(reactor) {}

AgentListener::~AgentListener() {
  CHECK(guests_.empty());
}

Result<> AgentListener::start() {
  auto listener = reactor::Listener::listen_tcp(reactor_, options_.host, options_.port);
  if (!listener) return std::unexpected(std::move(listener).error().with_context("agents' gRPC server"));
  listener_.emplace(std::move(*listener));
  scope_.spawn(accept());
  return {};
}

uint16_t AgentListener::port() const {
  return listener_->port();
}

Result<std::unique_ptr<ExpectedAgent>> AgentListener::expect(const std::string& address) {
  const auto normal = normal_address(address);
  if (!normal) return fail(Code::invalid_argument, "not an IPv4 or IPv6 address: " + address);
  if (guests_.contains(*normal)) {
    return fail(Code::invalid_argument, "a guest at " + *normal + " is expected already");
  }
  auto guest = std::make_shared<Guest>(reactor_, scope_.token(), *normal, TRY(make_id()));
  guests_.emplace(*normal, guest);
  return std::make_unique<ExpectedAgent>(*this, std::move(guest));
}

reactor::Task<> AgentListener::stop() {
  scope_.cancel();
  for (const auto& [address, guest] : guests_) guest->changed.notify_all();
  co_await scope_.join();
  if (listener_) co_await listener_->close();
}

reactor::Task<> AgentListener::accept() {
  const reactor::CancelToken token = scope_.token();
  while (!token.cancelled()) {
    auto socket = co_await listener_->accept(token);
    if (socket) {
      admit(*std::move(socket));
      continue;
    }
    if (token.cancelled()) co_return;
    log::warning("cannot accept agents for the moment, trying again", {{"error", socket.error().message}});
    (void)co_await reactor::SleepOp::for_ms(reactor_, kAcceptRetryMs, token);
  }
}

void AgentListener::admit(Fd socket) {
  const std::string address = peer_address(socket);
  const auto found = guests_.find(address);
  if (found == guests_.end()) {
    ++statistics_.refused_unknown;
    log::debug("a connection for agents from where no guest is expected", {{"address", address}});
    return;
  }
  const std::shared_ptr<Guest>& guest = found->second;
  if (guest->connections >= options_.max_connections_of_guest) {
    ++statistics_.refused_excess;
    return;
  }
  ++guest->connections;
  ++statistics_.accepted;
  ++statistics_.connections_open;
  scope_.spawn(serve(std::move(socket), guest));
}

/// Sends all that the session has to send.
static reactor::Task<Result<>> send_output(reactor::SocketStream& stream, rpc::ServerSession& session,
                                           reactor::CancelToken token) {
  while (true) {
    std::string output;
    CO_TRY(session.take_output(output));
    if (output.empty()) co_return Result<>{};
    CO_TRY(co_await stream.send(reactor::as_bytes(output), token));
  }
}

/// Moves bytes between the socket and a session, until one of them ends.
static reactor::Task<Result<>> talk(reactor::SocketStream& stream, rpc::ServerSession& session,
                                    reactor::CancelToken token) {
  while (true) {
    CO_TRY(co_await send_output(stream, session, token));
    if (session.violated()) co_return fail(Code::agent_protocol, "HTTP/2: a violation");
    if (session.finished()) co_return Result<>{};
    const reactor::Chunk chunk = CO_TRY(co_await stream.receive(token));
    if (chunk.bytes().empty()) co_return Result<>{};
    Result<> taken = session.receive(reactor::as_text(chunk.bytes()));
    if (taken) continue;
    // The peer may learn why.
    (void)co_await send_output(stream, session, token);
    co_return taken;
  }
}

reactor::Task<> AgentListener::serve(Fd socket, std::shared_ptr<Guest> guest) {
  {
    reactor::SocketStream stream(reactor_, std::move(socket));
    reactor::Deadline deadline(reactor_, reactor_.now_ns() + options_.connection_ms * 1'000'000,
                               guest->gone.token());
    Connection connection(statistics_, *guest);
    auto session = rpc::ServerSession::create(kLimits, connection);
    Result<> ended = session ? co_await talk(stream, **session, deadline.token())
                             : Result<>(std::unexpected(std::move(session).error()));
    const bool is_violation = !ended && (ended.error().code == Code::agent_protocol ||
                                         ended.error().code == Code::resource_exhausted);
    if (is_violation) {
      ++statistics_.protocol_errors;
      log::debug("an agent's registration is none",
                 {{"address", guest->address}, {"error", ended.error().message}});
    } else if (deadline.passed()) {
      ++statistics_.timeouts;
    }
  }
  --guest->connections;
  --statistics_.connections_open;
}

ExpectedAgent::ExpectedAgent(AgentListener& listener, std::shared_ptr<AgentListener::Guest> guest)
    : listener_(listener), guest_(std::move(guest)) {}

ExpectedAgent::~ExpectedAgent() {
  listener_.guests_.erase(guest_->address);
  guest_->gone.cancel();
}

bool ExpectedAgent::registered() const {
  return guest_->port != 0;
}
bool ExpectedAgent::ready() const {
  return guest_->ready;
}

reactor::Task<Result<Fd>> ExpectedAgent::connect(reactor::CancelToken token) {
  while (!guest_->ready) {
    if (guest_->gone.cancelled()) co_return fail(Code::shutting_down, "agents are no longer waited for");
    if (guest_->failed) co_return fail(Code::agent_protocol, "agent: says that it cannot run programs");
    CO_TRY(co_await guest_->changed.wait(token));
  }
  while (true) {
    auto socket = co_await reactor::connect_tcp(listener_.reactor_, guest_->address, guest_->port, token);
    // Agents may say that they are ready just before they listen.
    if (socket || socket.error().os_errno != ECONNREFUSED || guest_->gone.cancelled()) co_return socket;
    CO_TRY(co_await reactor::SleepOp::for_ms(listener_.reactor_, kDialRetryMs, token));
  }
}

}  // namespace lambdo::engine
