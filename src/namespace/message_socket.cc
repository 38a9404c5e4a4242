#include "namespace/message_socket.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace lambdo::namespaces {

Result<> send_message(int socket, const Message& message) {
  const std::string bytes = TRY(encode(message));
  while (::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return fail_errno("send to launcher socket");
  }
  return {};
}

Result<std::optional<Received>> receive_message(int socket) {
  static_assert(kMaxMessageBytes <= 64 << 10, "the buffer is on the stack");
  std::byte buffer[kMaxMessageBytes];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec part{.iov_base = buffer, .iov_len = sizeof buffer};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t count = 0;
  while ((count = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC)) < 0) {
    if (errno == ECONNRESET) return std::nullopt;
    if (errno != EINTR) return fail_errno("receive from launcher socket");
  }
  Received received;
  // More descriptors than fit into `control` the kernel drops.
  for (cmsghdr* entry = CMSG_FIRSTHDR(&header); entry != nullptr; entry = CMSG_NXTHDR(&header, entry)) {
    if (entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_RIGHTS) continue;
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(entry), sizeof fd);
    received.attached = Fd(fd);
  }
  if (count == 0) return std::nullopt;
  if ((header.msg_flags & MSG_TRUNC) != 0) return fail(Code::invalid_argument, "malformed message: length");
  received.message = TRY(decode(std::span(buffer, static_cast<size_t>(count))));
  return received;
}

}  // namespace lambdo::namespaces
