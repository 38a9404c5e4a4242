#include "vsock/packet.h"

#include <cstring>

namespace lambdo::vsock {

static_assert(offsetof(Header, len_bytes) == 24 && offsetof(Header, op) == 30 &&
              offsetof(Header, fwd_cnt) + sizeof(uint32_t) == kHeaderBytes);

Header decode(const RawHeader& raw) {
  Header header{};
  std::memcpy(&header, raw.data(), raw.size());
  return header;
}

RawHeader encode(const Header& header) {
  RawHeader raw;
  std::memcpy(raw.data(), &header, raw.size());
  return raw;
}

std::optional<Op> op_of(const Header& header) {
  if (header.op < static_cast<uint16_t>(Op::request) ||
      header.op > static_cast<uint16_t>(Op::credit_request)) {
    return std::nullopt;
  }
  return static_cast<Op>(header.op);
}

Admission admit(const Header& header, uint64_t guest_cid, uint64_t payload_bytes) {
  // An answer would go to somebody who never asked, so there is none.
  if (header.src_cid != guest_cid || header.dst_cid != kHostCid) return Admission::ignore;
  if (header.type != kTypeStream) return Admission::refuse;
  if (header.len_bytes > kMaxPayloadBytes || header.len_bytes > payload_bytes) return Admission::refuse;
  return Admission::accept;
}

}  // namespace lambdo::vsock
