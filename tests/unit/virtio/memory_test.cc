#include "virtio/memory.h"

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "driver.h"
#include "test.h"

namespace lambdo::virtio {

using testing::TestMemory;

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

TEST_CASE("guest memory takes ordered, apart, page-aligned regions and nothing else") {
  alignas(4096) static std::array<std::byte, 8192> block;
  const std::span<std::byte> bytes(block);
  struct Case {
    std::string name;
    std::vector<MemoryRegion> regions;
    bool valid;
  };
  const Case cases[] = {
      {"none", {}, false},
      {"one", {{0, bytes}}, true},
      {"two with a hole", {{0, bytes}, {uint64_t{4} << 30, bytes}}, true},
      {"two side by side", {{0, bytes}, {8192, bytes}}, true},
      {"four", {{0, bytes}, {0x10000, bytes}, {0x20000, bytes}, {0x30000, bytes}}, true},
      {"five", {{0, bytes}, {0x10000, bytes}, {0x20000, bytes}, {0x30000, bytes}, {0x40000, bytes}}, false},
      {"empty", {{0, {}}}, false},
      {"overlapping", {{0, bytes}, {4096, bytes}}, false},
      {"descending", {{0x10000, bytes}, {0, bytes}}, false},
      {"guest address off the page", {{8, bytes}}, false},
      {"host address off the page", {{0, bytes.subspan(8)}}, false},
      {"wrapping", {{kMax - 4095, bytes}}, false},
      {"up to the end", {{kMax - 8191, bytes.first(8191)}}, true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const auto memory = GuestMemory::create(c.regions);
    CHECK_EQ(memory.has_value(), c.valid);
    if (!memory) CHECK_EQ(memory.error().code, Code::invalid_argument);
  }
}

TEST_CASE("a slice lies in one region") {
  const TestMemory memory({{0x1000, 0x1000}, {0x2000, 0x1000}, {0x10000, 0x800}});
  struct Case {
    uint64_t guest_addr;
    uint64_t len_bytes;
    bool valid;
  };
  const Case cases[] = {
      {0x1000, 0x1000, true},
      {0x1000, 0x1001, false},  // next to each other is not one region
      {0x0fff, 1, false},
      {0x1fff, 1, true},
      {0x1fff, 2, false},
      {0x2fff, 1, true},
      {0x3000, 1, false},
      {0x10000, 0x800, true},
      {0x10000, 0x801, false},
      {0x10800, 1, false},
      {0x1000, 0, true},
      {0x1800, kMax, false},
      {kMax, 1, false},
      {kMax, kMax, false},
      {kMax - 0xfff, 0x2000, false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.guest_addr);
    CAPTURE(c.len_bytes);
    const auto slice = memory.guest().slice(c.guest_addr, c.len_bytes);
    CHECK_EQ(slice.has_value(), c.valid);
    if (slice) CHECK_EQ(slice->size(), c.len_bytes);
    if (slice && c.len_bytes > 0) CHECK_EQ(slice->data(), memory.at(c.guest_addr));
  }
  CHECK_EQ(memory.guest().slice(0x3000, 16).error().message,
           "16 bytes at guest address 0x3000 are not in one region of its memory");
  CHECK_FALSE(GuestMemory().slice(0, 0).has_value());
}

TEST_CASE("values of every size and alignment come back as they were written") {
  const TestMemory memory({{0, 0x1000}});
  struct Odd {
    std::array<uint8_t, 21> bytes;
  };
  Odd odd{};
  for (size_t i = 0; i < odd.bytes.size(); ++i) odd.bytes[i] = static_cast<uint8_t>(i * 7 + 1);
  for (uint64_t addr = 0x100; addr < 0x110; ++addr) {
    CAPTURE(addr);
    CHECK(memory.guest().write(addr, odd).has_value());
    CHECK_EQ(memory.guest().read<Odd>(addr)->bytes, odd.bytes);
    CHECK_EQ(memory.guest().read<uint8_t>(addr + 20).value(), 20 * 7 + 1);
    CHECK_EQ(memory.guest().read<uint8_t>(addr + 21).value(), 0);
    CHECK(memory.guest().write(addr, Odd{}).has_value());
  }
  CHECK(memory.guest().write(0x200, uint32_t{0x01020304}).has_value());
  CHECK_EQ(memory.guest().read<uint16_t>(0x200).value(), 0x0304);
  CHECK_FALSE(memory.guest().read<uint64_t>(0xff9).has_value());
  CHECK_FALSE(memory.guest().write<uint64_t>(0xff9, 1).has_value());
}

TEST_CASE("atomic accesses need alignment") {
  const TestMemory memory({{0, 0x1000}});
  CHECK(memory.guest().store_release<uint32_t>(0x104, 77).has_value());
  CHECK_EQ(memory.guest().load_acquire<uint32_t>(0x104).value(), 77);
  for (const uint64_t addr : {0x101, 0x102, 0x103}) {
    CHECK_EQ(memory.guest().load_acquire<uint32_t>(addr).error().code, Code::invalid_argument);
    CHECK_EQ(memory.guest().store_release<uint32_t>(addr, 1).error().code, Code::invalid_argument);
  }
  CHECK_FALSE(memory.guest().load_acquire<uint16_t>(0x1000).has_value());
}

}  // namespace lambdo::virtio
