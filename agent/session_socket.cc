#include "agent/session_socket.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/sockets.h"

namespace lambdo::agent {

static constexpr size_t kIncomingBytes = 64 << 10;

SessionSocket::SessionSocket(Fd socket)
    : socket_(std::move(socket)), incoming_(std::make_unique_for_overwrite<char[]>(kIncomingBytes)) {}

Result<SessionSocket> SessionSocket::create(Fd socket) {
  TRY(sys::set_nonblocking(socket));
  return SessionSocket(std::move(socket));
}

Result<> SessionSocket::receive(rpc::Http2Session& session) {
  const ssize_t count = ::recv(socket_.get(), incoming_.get(), kIncomingBytes, 0);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return {};
  if (count < 0) return fail_errno("recv");
  if (count == 0) return fail(Code::closed, "the peer closed the connection");
  return session.receive({incoming_.get(), static_cast<size_t>(count)});
}

Result<bool> SessionSocket::flush(rpc::Http2Session& session) {
  while (true) {
    if (sent_ == outgoing_.size()) {
      outgoing_.clear();
      sent_ = 0;
      TRY(session.take_output(outgoing_));
    }
    if (outgoing_.empty()) break;
    const ssize_t count =
        ::send(socket_.get(), outgoing_.data() + sent_, outgoing_.size() - sent_, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return true;
    if (count < 0) return fail_errno("send");
    sent_ += static_cast<size_t>(count);
  }
  if (session.finished()) return fail(Code::closed, "the connection came to its end");
  return false;
}

}  // namespace lambdo::agent
