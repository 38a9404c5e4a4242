#include "agent/host_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <utility>

namespace lambdo::agent {

Result<std::unique_ptr<HostConnection>> HostConnection::create(EventLoop& loop, Fd socket,
                                                               rpc::CallHandler& handler,
                                                               std::function<void()> closed) {
  std::unique_ptr<HostConnection> connection(
      new HostConnection(loop, TRY(SessionSocket::create(std::move(socket))), std::move(closed)));
  HostConnection* self = connection.get();
  self->session_ = TRY(rpc::ServerSession::create({}, handler, [self] { self->flush(); }));
  self->events_ = EPOLLIN;
  TRY(loop.watch(self->socket_.fd(), self->events_, [self](uint32_t events) { self->handle(events); }));
  self->flush();
  return connection;
}

HostConnection::~HostConnection() {
  loop_.forget(socket_.fd());
}

void HostConnection::handle(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    const Result<> received = socket_.receive(*session_);
    if (!received) return end(received.error());
  }
  const Result<bool> blocked = socket_.flush(*session_);
  if (!blocked) return end(blocked.error());
  if (!*blocked) close_output_if_ended();
  const uint32_t wanted = *blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
  if (wanted != events_ && loop_.change(socket_.fd(), wanted)) events_ = wanted;
}

void HostConnection::end(const Error& error) {
  loop_.forget(socket_.fd());
  session_->end(error);
  // It may destroy the connection.
  const auto closed = std::move(closed_);
  if (closed) closed();
}

void HostConnection::flush() {
  const Result<bool> blocked = socket_.flush(*session_);
  if (blocked && !*blocked) return close_output_if_ended();
  // The loop sends the rest, or meets the error.
  if (!blocked) ::shutdown(socket_.fd(), SHUT_RDWR);
  if (loop_.change(socket_.fd(), EPOLLIN | EPOLLOUT)) events_ = EPOLLIN | EPOLLOUT;
}

void HostConnection::close_output_if_ended() {
  if (session_->output_ended()) ::shutdown(socket_.fd(), SHUT_WR);
}

}  // namespace lambdo::agent
