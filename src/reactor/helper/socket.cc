#include "reactor/helper/socket.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace lambdo::helper {

Packet::Packet(std::string bytes, std::span<const int> attached) : bytes_(std::move(bytes)) {
  CHECK(attached.size() <= kMaxAttached);
  part_ = {.iov_base = bytes_.data(), .iov_len = bytes_.size()};
  header_.msg_iov = &part_;
  header_.msg_iovlen = 1;
  if (attached.empty()) return;
  header_.msg_control = control_.data();
  header_.msg_controllen = CMSG_SPACE(attached.size_bytes());
  cmsghdr* entry = CMSG_FIRSTHDR(&header_);
  entry->cmsg_level = SOL_SOCKET;
  entry->cmsg_type = SCM_RIGHTS;
  entry->cmsg_len = CMSG_LEN(attached.size_bytes());
  std::memcpy(CMSG_DATA(entry), attached.data(), attached.size_bytes());
}

Packet::Packet() : bytes_(kMaxMessageBytes, '\0') {
  reset();
}

void Packet::reset() {
  part_ = {.iov_base = bytes_.data(), .iov_len = bytes_.size()};
  header_ = {};
  header_.msg_iov = &part_;
  header_.msg_iovlen = 1;
  header_.msg_control = control_.data();
  header_.msg_controllen = control_.size();
}

Result<Received> Packet::take(Protocol protocol, size_t count) {
  Received received;
  size_t taken = 0;
  // More descriptors than fit into `control_` the kernel drops.
  for (cmsghdr* entry = CMSG_FIRSTHDR(&header_); entry != nullptr; entry = CMSG_NXTHDR(&header_, entry)) {
    if (entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_RIGHTS) continue;
    const size_t len_bytes = entry->cmsg_len - CMSG_LEN(0);
    for (size_t at = 0; at + sizeof(int) <= len_bytes && taken < kMaxAttached; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(entry) + at, sizeof fd);
      received.attached[taken++] = Fd(fd);
    }
  }
  if ((header_.msg_flags & MSG_TRUNC) != 0) return malformed("length");
  received.message = TRY(decode(protocol, std::as_bytes(std::span(bytes_).first(count))));
  return received;
}

Result<> send_message(int socket, Protocol protocol, const Message& message,
                      std::initializer_list<int> attached) {
  Packet packet(TRY(encode(protocol, message)), std::span(attached.begin(), attached.size()));
  while (::sendmsg(socket, &packet.header(), MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return fail_errno("send to helper socket");
  }
  return {};
}

Result<std::optional<Received>> receive_message(int socket, Protocol protocol) {
  Packet packet;
  ssize_t count = 0;
  while ((count = ::recvmsg(socket, &packet.header(), MSG_CMSG_CLOEXEC)) < 0) {
    if (errno == ECONNRESET) return std::nullopt;
    if (errno != EINTR) return fail_errno("receive from helper socket");
  }
  if (count == 0) return std::nullopt;
  return TRY(packet.take(protocol, static_cast<size_t>(count)));
}

}  // namespace lambdo::helper
