#include "agent/netlink.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>

namespace lambdo::agent {

// The kernel fills at most 32 KiB at a time in a dump (netlink_dump(), af_netlink.c).
static constexpr size_t kAnswerBytes = 64 << 10;
static constexpr timeval kPatience{.tv_sec = 5, .tv_usec = 0};

static size_t aligned(size_t size) {
  return NLMSG_ALIGN(size);
}

void NetlinkMessage::append(std::string_view bytes) {
  bytes_.append(bytes);
  bytes_.resize(aligned(bytes_.size()));
}

void NetlinkMessage::put(uint16_t attribute, std::string_view value) {
  const rtattr header{.rta_len = static_cast<uint16_t>(sizeof(rtattr) + value.size()), .rta_type = attribute};
  append({reinterpret_cast<const char*>(&header), sizeof header});
  append(value);
}

void NetlinkMessage::put_u32(uint16_t attribute, uint32_t value) {
  put(attribute, {reinterpret_cast<const char*>(&value), sizeof value});
}

/// The value of the attribute `wanted` among `bytes`.
static std::optional<std::string_view> find_attribute(std::string_view bytes, uint16_t wanted) {
  while (bytes.size() >= sizeof(rtattr)) {
    rtattr header;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.rta_len < sizeof header || header.rta_len > bytes.size()) return std::nullopt;
    if ((header.rta_type & NLA_TYPE_MASK) == wanted) {
      return bytes.substr(sizeof header, header.rta_len - sizeof header);
    }
    bytes.remove_prefix(std::min(aligned(header.rta_len), bytes.size()));
  }
  return std::nullopt;
}

std::optional<std::string_view> NetlinkPart::attribute(size_t header_bytes, uint16_t wanted) const {
  const std::string_view payload = payload_;
  if (payload.size() < aligned(header_bytes)) return std::nullopt;
  return find_attribute(payload.substr(aligned(header_bytes)), wanted);
}

Result<Netlink> Netlink::open() {
  Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket.valid()) return fail_errno("netlink socket");
  const int on = 1;
  // Without them there are fewer words in an error, and no more than that.
  ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) < 0) {
    return fail_errno("netlink socket: SO_RCVTIMEO");
  }
  return Netlink(std::move(socket));
}

Result<> Netlink::send(NetlinkMessage& message, uint16_t flags, std::string_view what) {
  nlmsghdr header;
  std::memcpy(&header, message.bytes_.data(), sizeof header);
  header.nlmsg_len = static_cast<uint32_t>(message.bytes_.size());
  header.nlmsg_flags |= NLM_F_REQUEST | flags;
  header.nlmsg_seq = ++sequence_;
  std::memcpy(message.bytes_.data(), &header, sizeof header);
  if (::send(socket_.get(), message.bytes_.data(), message.bytes_.size(), 0) < 0) return fail_errno(what);
  return {};
}

/// What the kernel says of a request that failed (nlmsgerr with NLMSGERR_ATTR_MSG; the request is not in it,
/// NETLINK_CAP_ACK).
static std::unexpected<Error> kernel_error(std::string_view what, int os_errno, std::string_view payload) {
  std::string text(what);
  const size_t attributes = aligned(sizeof(nlmsgerr));
  if (payload.size() > attributes) {
    auto words = find_attribute(payload.substr(attributes), NLMSGERR_ATTR_MSG);
    if (words && !words->empty()) {
      if (words->back() == '\0') words->remove_suffix(1);
      text += ": ";
      text += *words;
    }
  }
  return fail_errno(os_errno, text);
}

Result<> Netlink::receive(std::vector<NetlinkPart>& parts, std::string_view what) {
  std::vector<char> buffer(kAnswerBytes);
  while (true) {
    const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(what);
    std::string_view left(buffer.data(), static_cast<size_t>(count));
    while (left.size() >= sizeof(nlmsghdr)) {
      nlmsghdr header;
      std::memcpy(&header, left.data(), sizeof header);
      if (header.nlmsg_len < sizeof header || header.nlmsg_len > left.size()) {
        return fail(Code::internal, std::string(what) + ": the kernel's answer is cut off");
      }
      const std::string_view payload = left.substr(sizeof header, header.nlmsg_len - sizeof header);
      left.remove_prefix(std::min(aligned(header.nlmsg_len), left.size()));
      if (header.nlmsg_seq != sequence_) continue;  // of a request that was given up
      if (header.nlmsg_type == NLMSG_DONE) return {};
      if (header.nlmsg_type != NLMSG_ERROR) {
        parts.emplace_back(header.nlmsg_type, std::string(payload));
        continue;
      }
      int error = -EIO;
      if (payload.size() >= sizeof error) std::memcpy(&error, payload.data(), sizeof error);
      if (error == 0) return {};
      return kernel_error(what, -error, payload);
    }
  }
}

Result<> Netlink::change(NetlinkMessage message, std::string_view what) {
  TRY(send(message, NLM_F_ACK, what));
  std::vector<NetlinkPart> none;
  return receive(none, what);
}

Result<std::vector<NetlinkPart>> Netlink::dump(NetlinkMessage message, std::string_view what) {
  TRY(send(message, NLM_F_DUMP, what));
  std::vector<NetlinkPart> parts;
  TRY(receive(parts, what));
  return parts;
}

}  // namespace lambdo::agent
