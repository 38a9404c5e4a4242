#include "vsock/packet.h"

#include "test.h"

namespace lambdo::vsock {

static const Header kValid = {.src_cid = 3,
                              .dst_cid = 2,
                              .src_port = 1000,
                              .dst_port = 50051,
                              .len_bytes = 10,
                              .type = 1,
                              .op = 5,
                              .flags = 0,
                              .buf_alloc = 65536,
                              .fwd_cnt = 7};

TEST_CASE("a header lies in memory as virtio 1.2, 5.10.6 has it") {
  const RawHeader raw = encode({.src_cid = 0x0807060504030201,
                                .dst_cid = 0x100f0e0d0c0b0a09,
                                .src_port = 0x14131211,
                                .dst_port = 0x18171615,
                                .len_bytes = 0x1c1b1a19,
                                .type = 0x1e1d,
                                .op = 0x201f,
                                .flags = 0x24232221,
                                .buf_alloc = 0x28272625,
                                .fwd_cnt = 0x2c2b2a29});
  for (size_t i = 0; i < raw.size(); ++i) CHECK_EQ(static_cast<size_t>(raw[i]), i + 1);
  CHECK(decode(encode(kValid)) == kValid);
}

TEST_CASE("packets are admitted by their addresses, type and length") {
  struct Row {
    const char* what;
    void (*change)(Header&);
    Admission admission;
  };
  static constexpr Row kRows[] = {
      {"valid", [](Header&) {}, Admission::accept},
      {"another guest's", [](Header& header) { header.src_cid = 4; }, Admission::ignore},
      {"the host's", [](Header& header) { header.src_cid = 2; }, Admission::ignore},
      {"high half of the source", [](Header& header) { header.src_cid |= uint64_t{1} << 32; },
       Admission::ignore},
      {"to another guest", [](Header& header) { header.dst_cid = 4; }, Admission::ignore},
      {"to the hypervisor", [](Header& header) { header.dst_cid = 0; }, Admission::ignore},
      {"high half of the destination", [](Header& header) { header.dst_cid |= uint64_t{1} << 63; },
       Admission::ignore},
      {"no type", [](Header& header) { header.type = 0; }, Admission::refuse},
      {"SEQPACKET", [](Header& header) { header.type = 2; }, Admission::refuse},
      {"as long as the chain", [](Header& header) { header.len_bytes = 100; }, Admission::accept},
      {"longer than the chain", [](Header& header) { header.len_bytes = 101; }, Admission::refuse},
      {"longest", [](Header& header) { header.len_bytes = UINT32_MAX; }, Admission::refuse},
      {"empty", [](Header& header) { header.len_bytes = 0; }, Admission::accept},
  };
  for (const Row& row : kRows) {
    CAPTURE(row.what);
    Header header = kValid;
    row.change(header);
    CHECK(admit(header, 3, 100) == row.admission);
  }
  Header large = kValid;
  large.len_bytes = kMaxPayloadBytes;
  CHECK(admit(large, 3, 1 << 20) == Admission::accept);
  ++large.len_bytes;
  CHECK(admit(large, 3, 1 << 20) == Admission::refuse);
}

TEST_CASE("operations outside of 1 to 7 are none") {
  Header header = kValid;
  for (uint32_t op = 0; op <= UINT16_MAX; ++op) {
    header.op = static_cast<uint16_t>(op);
    CHECK_EQ(op_of(header).has_value(), op >= 1 && op <= 7);
  }
}

}  // namespace lambdo::vsock
