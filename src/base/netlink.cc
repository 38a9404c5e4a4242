#include "base/netlink.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace lambdo {

namespace {

constexpr int kMaxDumps = 16;
constexpr size_t kReceiveBytes = 32 << 10;  // the kernel fills at most this much at a time

/// Takes `size` bytes and the padding behind them, which the last one of a message may lack.
std::string_view take(std::string_view& bytes, size_t size) {
  const std::string_view taken = bytes.substr(0, size);
  bytes.remove_prefix(std::min<size_t>(NLMSG_ALIGN(size), bytes.size()));
  return taken;
}

/// The next message, if it is whole; its header apart.
std::optional<std::string_view> take_message(std::string_view& bytes, nlmsghdr& header) {
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.nlmsg_len < sizeof header || header.nlmsg_len > bytes.size()) return std::nullopt;
  return take(bytes, header.nlmsg_len).substr(sizeof header);
}

/// What the kernel says beyond the number (NLMSGERR_ATTR_MSG), "" where nothing.
std::string kernel_words(const nlmsghdr& header, const NetlinkAnswer& answer) {
  // With NETLINK_CAP_ACK the request is not repeated, so the attributes follow at once.
  if ((header.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return "";
  std::string_view attributes = answer.attributes(sizeof(nlmsgerr));
  while (const auto attribute = take_attribute(attributes)) {
    if (attribute->type == NLMSGERR_ATTR_MSG) return attribute->text();
  }
  return "";
}

/// The yes or no of an NLMSG_ERROR.
Result<> verdict(const nlmsghdr& header, const NetlinkAnswer& answer, std::string_view what) {
  const bool whole = answer.payload.size() >= sizeof(nlmsgerr);
  const int os_errno = whole ? -answer.fixed_part<nlmsgerr>().error : EBADMSG;
  if (os_errno == 0) return {};
  Error error = errno_error(os_errno, what);
  if (os_errno == ENODEV || os_errno == ENOENT || os_errno == ESRCH) error.code = Code::not_found;
  const std::string words = kernel_words(header, answer);
  if (!words.empty()) error.message += " (" + words + ")";
  return std::unexpected(std::move(error));
}

}  // namespace

NetlinkMessage::NetlinkMessage(uint16_t type, uint16_t flags) {
  header().nlmsg_len = NLMSG_HDRLEN;
  header().nlmsg_type = type;
  header().nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
}

void* NetlinkMessage::extend(size_t len_bytes) {
  const size_t at = header().nlmsg_len;
  CHECK(at + NLMSG_ALIGN(len_bytes) <= kMaxBytes);
  header().nlmsg_len += static_cast<uint32_t>(NLMSG_ALIGN(len_bytes));
  return buffer_.data() + at;
}

NetlinkMessage& NetlinkMessage::put_bytes(uint16_t type, std::string_view bytes) {
  CHECK(bytes.size() < kMaxBytes);
  auto* attribute = static_cast<nlattr*>(extend(NLA_HDRLEN + bytes.size()));
  attribute->nla_type = type;
  attribute->nla_len = static_cast<uint16_t>(NLA_HDRLEN + bytes.size());
  std::ranges::copy(bytes, reinterpret_cast<char*>(attribute) + NLA_HDRLEN);
  return *this;
}

NetlinkMessage& NetlinkMessage::put(uint16_t type, std::string_view text) {
  return put_bytes(type, std::string(text) + '\0');
}

NetlinkMessage& NetlinkMessage::put_u8(uint16_t type, uint8_t value) {
  return put_bytes(type, {reinterpret_cast<const char*>(&value), sizeof value});
}

NetlinkMessage& NetlinkMessage::put_u32(uint16_t type, uint32_t value) {
  return put_bytes(type, {reinterpret_cast<const char*>(&value), sizeof value});
}

NetlinkMessage& NetlinkMessage::put_ip(uint16_t type, const IpAddress& address) {
  return put_bytes(type, address.bytes());
}

NetlinkMessage& NetlinkMessage::put_mac(uint16_t type, MacAddress mac) {
  return put_bytes(type, {reinterpret_cast<const char*>(mac.bytes.data()), mac.bytes.size()});
}

nlattr* NetlinkMessage::begin(uint16_t type) {
  auto* nest = static_cast<nlattr*>(extend(NLA_HDRLEN));
  nest->nla_type = NLA_F_NESTED | type;
  return nest;
}

void NetlinkMessage::end(nlattr* nest) {
  const auto* tail = buffer_.data() + header().nlmsg_len;
  nest->nla_len = static_cast<uint16_t>(tail - reinterpret_cast<const std::byte*>(nest));
}

std::string NetlinkAttribute::text() const {
  return std::string(payload.substr(0, payload.find('\0')));
}

uint32_t NetlinkAttribute::u32() const {
  uint32_t value = 0;
  if (payload.size() == sizeof value) std::memcpy(&value, payload.data(), sizeof value);
  return value;
}

MacAddress NetlinkAttribute::mac() const {
  MacAddress mac;
  if (payload.size() == mac.bytes.size()) std::ranges::copy(payload, mac.bytes.begin());
  return mac;
}

std::optional<NetlinkAttribute> take_attribute(std::string_view& bytes) {
  nlattr header;
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.nla_len < sizeof header || header.nla_len > bytes.size()) return std::nullopt;
  return NetlinkAttribute{.type = static_cast<uint16_t>(header.nla_type & NLA_TYPE_MASK),
                          .payload = take(bytes, header.nla_len).substr(NLA_HDRLEN)};
}

std::string_view NetlinkAnswer::attributes(size_t fixed_bytes) const {
  return payload.substr(std::min<size_t>(NLMSG_ALIGN(fixed_bytes), payload.size()));
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol, int limit_ms) {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!socket.valid()) return fail_errno("open netlink socket");
  // Words with errors, and requests not sent back with them. Old kernels have neither, and numbers still.
  const int on = 1;
  static_cast<void>(::setsockopt(socket.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on));
  static_cast<void>(::setsockopt(socket.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on));
  const timeval limit{.tv_sec = limit_ms / 1000, .tv_usec = limit_ms % 1000 * 1000L};
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0) {
    return fail_errno("netlink socket: SO_RCVTIMEO");
  }
  return NetlinkSocket(std::move(socket));
}

Result<> NetlinkSocket::send(NetlinkMessage& message, uint16_t flags, std::string_view what) {
  nlmsghdr& header = message.header();
  header.nlmsg_flags |= flags;
  header.nlmsg_seq = ++sequence_;
  if (::send(socket_.get(), &header, header.nlmsg_len, 0) < 0) return fail_errno(what);
  return {};
}

Result<> NetlinkSocket::receive(std::string_view what, const Each& each, bool& interrupted) {
  std::vector<char> buffer(kReceiveBytes);
  for (;;) {
    // With MSG_TRUNC the length is the message's own, even where the buffer is too small for it.
    const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_TRUNC);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(what);
    if (static_cast<size_t>(count) > buffer.size()) return fail_errno(ENOSPC, what);
    std::string_view left(buffer.data(), static_cast<size_t>(count));
    while (left.size() >= sizeof(nlmsghdr)) {
      nlmsghdr header;
      const auto payload = take_message(left, header);
      if (!payload) return fail(Code::internal, std::string(what) + ": the kernel's answer is cut off");
      // What an earlier request that failed halfway left behind is not ours.
      if (header.nlmsg_seq != sequence_) continue;
      const NetlinkAnswer answer{.type = header.nlmsg_type, .payload = *payload};
      interrupted |= (header.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (header.nlmsg_type == NLMSG_DONE) return {};
      if (header.nlmsg_type == NLMSG_ERROR) return verdict(header, answer, what);
      if (header.nlmsg_type >= NLMSG_MIN_TYPE && each) each(answer);
    }
  }
}

Result<> NetlinkSocket::request(NetlinkMessage& message, std::string_view what, const Each& each) {
  TRY(send(message, NLM_F_ACK, what));
  bool interrupted = false;
  return receive(what, each, interrupted);
}

Result<> NetlinkSocket::dump(NetlinkMessage& message, std::string_view what, const Each& each,
                             const std::function<void()>& restart) {
  for (int i = 0; i < kMaxDumps; ++i) {
    TRY(send(message, NLM_F_DUMP, what));
    bool interrupted = false;
    TRY(receive(what, each, interrupted));
    if (!interrupted) return {};
    restart();
  }
  return fail(Code::overloaded, std::string(what) + ": it changed each time that it was read");
}

}  // namespace lambdo
