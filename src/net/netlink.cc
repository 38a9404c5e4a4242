#include "net/netlink.h"

#include <libmnl/libmnl.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/check.h"
#include "net/attributes.h"

namespace lambdo::net {

namespace {

constexpr int kMaxDumps = 16;
constexpr size_t kReceiveBytes = 32 << 10;  // the kernel fills at most this much at a time

/// What the kernel says beyond the number (NLMSGERR_ATTR_MSG), "" where nothing.
std::string kernel_words(const nlmsghdr& header) {
  // With NETLINK_CAP_ACK the request is not repeated, so the attributes follow at once.
  if ((header.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return "";
  std::string words;
  for_each_attribute(header, sizeof(nlmsgerr), [&](const nlattr* attribute) {
    if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG &&
        mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0) {
      words = mnl_attr_get_str(attribute);
    }
  });
  return words;
}

Error kernel_error(const nlmsghdr& header, int os_errno, std::string_view what) {
  Error error = errno_error(os_errno, what);
  if (os_errno == ENODEV || os_errno == ENOENT || os_errno == ESRCH) error.code = Code::not_found;
  const std::string words = kernel_words(header);
  if (!words.empty()) error.message += " (" + words + ")";
  return error;
}

/// The errno of an NLMSG_ERROR, 0 for an acknowledgement.
int error_of(const nlmsghdr& header) {
  if (mnl_nlmsg_get_payload_len(&header) < sizeof(nlmsgerr)) return EBADMSG;
  return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(&header))->error;
}

}  // namespace

NetlinkMessage::NetlinkMessage(uint16_t type, uint16_t flags) {
  mnl_nlmsg_put_header(buffer_.data());
  header()->nlmsg_type = type;
  header()->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
}

NetlinkMessage& NetlinkMessage::put(uint16_t type, std::string_view text) {
  return put_bytes(type, std::string(text).c_str(), text.size() + 1);
}

NetlinkMessage& NetlinkMessage::put_bytes(uint16_t type, const void* data, size_t len_bytes) {
  CHECK(mnl_attr_put_check(header(), kMaxBytes, type, len_bytes, data));
  return *this;
}

NetlinkMessage& NetlinkMessage::put_u8(uint16_t type, uint8_t value) {
  return put_bytes(type, &value, sizeof value);
}

NetlinkMessage& NetlinkMessage::put_u16(uint16_t type, uint16_t value) {
  return put_bytes(type, &value, sizeof value);
}

NetlinkMessage& NetlinkMessage::put_u32(uint16_t type, uint32_t value) {
  return put_bytes(type, &value, sizeof value);
}

nlattr* NetlinkMessage::begin(uint16_t type) {
  nlattr* nest = mnl_attr_nest_start_check(header(), kMaxBytes, type);
  CHECK(nest != nullptr);
  return nest;
}

void NetlinkMessage::end(nlattr* nest) {
  mnl_attr_nest_end(header(), nest);
}

void* NetlinkMessage::extend(size_t len_bytes) {
  CHECK(header()->nlmsg_len + MNL_ALIGN(len_bytes) <= kMaxBytes);
  return mnl_nlmsg_put_extra_header(header(), len_bytes);
}

void NetlinkSocket::Close::operator()(mnl_socket* socket) const {
  mnl_socket_close(socket);
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol) {
  NetlinkSocket opened;
  opened.socket_.reset(mnl_socket_open2(protocol, SOCK_CLOEXEC));
  if (!opened.socket_) return fail_errno("open netlink socket");
  if (mnl_socket_bind(opened.socket_.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return fail_errno("bind netlink socket");
  }
  // Words with errors, and requests not sent back with them. Old kernels have neither, and numbers still.
  int on = 1;
  static_cast<void>(mnl_socket_setsockopt(opened.socket_.get(), NETLINK_EXT_ACK, &on, sizeof on));
  static_cast<void>(mnl_socket_setsockopt(opened.socket_.get(), NETLINK_CAP_ACK, &on, sizeof on));
  return opened;
}

Result<uint32_t> NetlinkSocket::send(NetlinkMessage& message, uint16_t flags, std::string_view what) {
  nlmsghdr* header = message.header();
  header->nlmsg_flags |= flags;
  header->nlmsg_seq = ++sequence_;
  if (mnl_socket_sendto(socket_.get(), header, header->nlmsg_len) < 0) return fail_errno(what);
  return sequence_;
}

Result<> NetlinkSocket::request(NetlinkMessage& message, std::string_view what,
                                const std::function<void(const nlmsghdr&)>& each) {
  const uint32_t sequence = TRY(send(message, NLM_F_ACK, what));
  std::vector<std::byte> buffer(kReceiveBytes);
  for (;;) {
    const ssize_t count = mnl_socket_recvfrom(socket_.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(what);
    int left = static_cast<int>(count);
    for (const auto* at = reinterpret_cast<const nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(at, left);
         at = mnl_nlmsg_next(at, &left)) {
      // What an earlier request that failed halfway left behind is not ours.
      if (at->nlmsg_seq != sequence) continue;
      if (at->nlmsg_type >= NLMSG_MIN_TYPE && each) each(*at);
      if (at->nlmsg_type != NLMSG_ERROR) continue;
      const int os_errno = error_of(*at);
      if (os_errno == 0) return {};
      return std::unexpected(kernel_error(*at, os_errno, what));
    }
  }
}

Result<NetlinkSocket::Dumped> NetlinkSocket::dump_once(NetlinkMessage& message, std::string_view what,
                                                       const std::function<void(const nlmsghdr&)>& each) {
  const uint32_t sequence = TRY(send(message, NLM_F_DUMP, what));
  std::vector<std::byte> buffer(kReceiveBytes);
  Dumped result = Dumped::complete;
  for (;;) {
    const ssize_t count = mnl_socket_recvfrom(socket_.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(what);
    int left = static_cast<int>(count);
    for (const auto* at = reinterpret_cast<const nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(at, left);
         at = mnl_nlmsg_next(at, &left)) {
      if (at->nlmsg_seq != sequence) continue;
      if ((at->nlmsg_flags & NLM_F_DUMP_INTR) != 0) result = Dumped::interrupted;
      if (at->nlmsg_type == NLMSG_DONE) return result;
      if (at->nlmsg_type == NLMSG_ERROR) {
        const int os_errno = error_of(*at);
        if (os_errno != 0) return std::unexpected(kernel_error(*at, os_errno, what));
      } else if (at->nlmsg_type >= NLMSG_MIN_TYPE) {
        each(*at);
      }
    }
  }
}

Result<> NetlinkSocket::dump(NetlinkMessage& message, std::string_view what,
                             const std::function<void(const nlmsghdr&)>& each,
                             const std::function<void()>& restart) {
  for (int i = 0; i < kMaxDumps; ++i) {
    if (TRY(dump_once(message, what, each)) == Dumped::complete) return {};
    restart();
  }
  return fail(Code::overloaded, std::string(what) + ": it changed each time that it was read");
}

}  // namespace lambdo::net
