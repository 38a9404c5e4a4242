#include "reactor/operations.h"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "harness.h"
#include "reactor/scope.h"

#include "test.h"

namespace lambdo::reactor {

static std::span<std::byte> writable(std::string& text) {
  return std::as_writable_bytes(std::span(text));
}

static Task<> use_file(Reactor& reactor) {
  const Fd file = sys::memfd("file").value();
  CHECK_EQ((co_await WriteOp(reactor, file.get(), as_bytes("hello world"))).value(), 11U);
  CHECK_EQ((co_await WriteOp(reactor, file.get(), as_bytes("WORLD"), {}, 6)).value(), 5U);
  std::string buffer(32, '-');
  CHECK_EQ((co_await ReadOp(reactor, file.get(), writable(buffer), {}, 0)).value(), 11U);
  CHECK_EQ(buffer.substr(0, 12), "hello WORLD-");
  CHECK_EQ((co_await ReadOp(reactor, file.get(), writable(buffer))).value(),
           0U);  // the position is at the end
  CHECK_EQ((co_await ReadOp(reactor, file.get(), {}, {}, 0)).value(), 0U);
}

static Task<> use_pipe(Reactor& reactor) {
  auto [reader, writer] = sys::pipe().value();
  std::string buffer(4, '-');
  CHECK_EQ((co_await WriteOp(reactor, writer.get(), as_bytes("abcdef"))).value(), 6U);
  CHECK_EQ((co_await PollOp(reactor, reader.get(), POLLIN)).value(), static_cast<size_t>(POLLIN));
  CHECK_EQ((co_await ReadOp(reactor, reader.get(), writable(buffer))).value(), 4U);
  CHECK_EQ(buffer, "abcd");
  CHECK_EQ((co_await ReadOp(reactor, reader.get(), writable(buffer))).value(), 2U);
  writer.reset();
  CHECK_EQ((co_await ReadOp(reactor, reader.get(), writable(buffer))).value(), 0U);
}

TEST_CASE("files and pipes are read and written, at the position or at an offset") {
  auto reactor = make_reactor();
  reactor->run(use_file(*reactor));
  reactor->run(use_pipe(*reactor));
}

static Task<> use_socket(Reactor& reactor) {
  auto [a, b] = socket_pair();
  std::string buffer(16, '-');
  CHECK_EQ((co_await SendOp(reactor, a.get(), as_bytes("ping"))).value(), 4U);
  CHECK_EQ((co_await ReceiveOp(reactor, b.get(), writable(buffer))).value(), 4U);
  CHECK_EQ((co_await SendOp(reactor, b.get(), as_bytes("pong!"))).value(), 5U);
  const Chunk chunk = (co_await ReceivePooledOp(reactor, a.get())).value();
  CHECK_EQ(as_text(chunk.bytes()), "pong!");
  b.reset();
  CHECK((co_await ReceivePooledOp(reactor, a.get())).value().empty());
  CHECK_EQ((co_await ReceiveOp(reactor, a.get(), writable(buffer))).value(), 0U);
  CHECK_EQ((co_await SendOp(reactor, a.get(), as_bytes("x"))).error().code, Code::closed);
}

TEST_CASE("sockets send and receive, and a gone peer is an error and not a signal") {
  auto reactor = make_reactor();
  reactor->run(use_socket(*reactor));
  CHECK_EQ(reactor->buffers().lent(), 0U);
}

/// A message of one part with room for one descriptor.
struct Message {
  iovec part{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};

  explicit Message(std::string& text) : part{text.data(), text.size()} {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
};

static Task<> pass_descriptor(Reactor& reactor) {
  auto [a, b] = socket_pair();
  auto [reader, writer] = sys::pipe().value();
  std::string text = "take this";
  Message sent(text);
  cmsghdr* control = CMSG_FIRSTHDR(&sent.header);
  *control = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  const int passed = writer.get();
  std::memcpy(CMSG_DATA(control), &passed, sizeof passed);
  CHECK_EQ((co_await SendMessageOp(reactor, a.get(), sent.header)).value(), text.size());
  writer.reset();

  std::string buffer(64, '-');
  Message received(buffer);
  CHECK_EQ((co_await ReceiveMessageOp(reactor, b.get(), received.header)).value(), text.size());
  CHECK_EQ(buffer.substr(0, text.size()), text);
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&received.header)), sizeof fd);
  const Fd arrived(fd);
  CHECK_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  CHECK_EQ((co_await WriteOp(reactor, fd, as_bytes("x"))).value(), 1U);
  CHECK_EQ((co_await ReadOp(reactor, reader.get(), writable(buffer))).value(), 1U);
}

TEST_CASE("a message passes a descriptor, which arrives close-on-exec") {
  auto reactor = make_reactor();
  reactor->run(pass_descriptor(*reactor));
}

static Task<> accept_one(Reactor& reactor, int listener, Result<Fd>& accepted) {
  accepted = co_await AcceptOp(reactor, listener);
}

static Task<> connect_unix(Reactor& reactor) {
  const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  auto& name = reinterpret_cast<sockaddr_un&>(address);
  name.sun_family = AF_UNIX;
  const std::string text = "lambdo-operations-test-" + std::to_string(::getpid());  // abstract: no file
  text.copy(name.sun_path + 1, text.size());
  const auto len_bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  const Fd early(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto refused = co_await ConnectOp(reactor, early.get(), address, len_bytes);
  CHECK_EQ(refused.error().message, "connect: Connection refused");
  CHECK_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), len_bytes), 0);
  CHECK_EQ(::listen(listener.get(), 1), 0);

  Scope scope(reactor);
  Result<Fd> accepted = fail(Code::internal, "not accepted");
  scope.spawn(accept_one(reactor, listener.get(), accepted));
  const Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK((co_await ConnectOp(reactor, client.get(), address, len_bytes)).has_value());
  co_await scope.join();
  CHECK_EQ(::fcntl(accepted.value().get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  CHECK_EQ((co_await SendOp(reactor, client.get(), as_bytes("hi"))).value(), 2U);
  std::string buffer(2, '-');
  CHECK_EQ((co_await ReceiveOp(reactor, accepted->get(), writable(buffer))).value(), 2U);
}

TEST_CASE("connect and accept meet, connect without a listener is refused") {
  auto reactor = make_reactor();
  reactor->run(connect_unix(*reactor));
}

static Task<> break_everything(Reactor& reactor, int bad) {
  std::string buffer(8, '-');
  msghdr message{};
  const sockaddr_storage address{};
  struct Failure {
    const char* call;
    Error error;
  };
  const std::array<Failure, 9> failures = {{
      {"read", (co_await ReadOp(reactor, bad, writable(buffer))).error()},
      {"write", (co_await WriteOp(reactor, bad, writable(buffer))).error()},
      {"recv", (co_await ReceiveOp(reactor, bad, writable(buffer))).error()},
      {"recv", (co_await ReceivePooledOp(reactor, bad)).error()},
      {"send", (co_await SendOp(reactor, bad, writable(buffer))).error()},
      {"sendmsg", (co_await SendMessageOp(reactor, bad, message)).error()},
      {"recvmsg", (co_await ReceiveMessageOp(reactor, bad, message)).error()},
      {"accept", (co_await AcceptOp(reactor, bad)).error()},
      {"connect", (co_await ConnectOp(reactor, bad, address, sizeof address)).error()},
  }};
  for (const auto& [call, error] : failures) {
    CAPTURE(call);
    CHECK_EQ(error.os_errno, EBADF);
    CHECK_EQ(error.message, std::string(call) + ": Bad file descriptor");
  }
  CHECK_EQ((co_await PollOp(reactor, bad, POLLIN)).error().os_errno, EBADF);
}

static Task<> write_without_readers(Reactor& reactor) {
  auto [reader, writer] = sys::pipe().value();
  reader.reset();
  CHECK_EQ((co_await WriteOp(reactor, writer.get(), as_bytes("x"))).error().code, Code::closed);
  CHECK_EQ((co_await PollOp(reactor, writer.get(), POLLIN)).value(), static_cast<size_t>(POLLERR));
}

TEST_CASE("a failed operation names its call and reason") {
  auto reactor = make_reactor();
  const int closed = sys::eventfd(0).value().get();
  reactor->run(break_everything(*reactor, closed));
  CHECK_EQ(reactor->buffers().lent(), 0U);
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  reactor->run(write_without_readers(*reactor));
  ::signal(SIGPIPE, before);
}

static Task<> receive_into(Reactor& reactor, int fd, CancelToken token, Result<size_t>& result) {
  std::array<std::byte, 16> buffer;
  result = co_await ReceiveOp(reactor, fd, buffer, token);
}

static Task<> close_while_pending(Reactor& reactor) {
  auto [a, b] = socket_pair();
  CancelSource source;
  Scope scope(reactor);
  Result<size_t> result = fail(Code::internal, "untouched");
  scope.spawn(receive_into(reactor, a.get(), source.token(), result));
  co_await let_run(reactor, 3);
  CHECK_EQ(reactor.in_flight(), 1U);
  a.reset();
  co_await let_run(reactor, 3);
  CHECK_EQ(reactor.in_flight(), 1U);  // the kernel holds the socket: the peer sees no end yet
  pollfd peer{.fd = b.get(), .events = POLLRDHUP};
  CHECK_EQ(::poll(&peer, 1, 0), 0);
  source.cancel();
  co_await scope.join();
  CHECK_EQ(result.error().code, Code::cancelled);
  CHECK_EQ(reactor.in_flight(), 0U);
  CHECK_EQ((co_await PollOp(reactor, b.get(), POLLRDHUP)).value() & POLLRDHUP,
           static_cast<size_t>(POLLRDHUP));
}

TEST_CASE("closing a descriptor with I/O pending ends nothing, cancelling then does") {
  auto reactor = make_reactor();
  reactor->run(close_while_pending(*reactor));
}

static Task<> abandon(Reactor& reactor, int fd) {
  std::array<std::byte, 16> buffer;
  (void)co_await ReceiveOp(reactor, fd, buffer);
}

TEST_CASE("a reactor that dies with an operation in flight is caught") {
  CHECK(aborts([] {
    auto reactor = make_reactor();
    auto [a, b] = socket_pair();
    Scope scope(*reactor);
    scope.spawn(abandon(*reactor, a.get()));
    reactor->run(let_run(*reactor, 3));
    reactor.reset();
  }));
}

}  // namespace lambdo::reactor
