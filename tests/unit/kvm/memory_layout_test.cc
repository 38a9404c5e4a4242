#include "kvm/memory_layout.h"

#include <vector>

#include "test.h"

namespace lambdo::kvm {

TEST_CASE("RAM stays below the MMIO hole and goes on above it") {
  struct Row {
    uint64_t ram_bytes;
    std::vector<AddressRange> ranges;
  };
  const std::vector<Row> rows = {
      {64 * kMiB, {{0, 64 * kMiB}}},
      {3 * kGiB, {{0, 3 * kGiB}}},
      {3 * kGiB + kMiB, {{0, 3 * kGiB}, {4 * kGiB, kMiB}}},
      {16 * kGiB, {{0, 3 * kGiB}, {4 * kGiB, 13 * kGiB}}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.ram_bytes);
    const RamLayout ram = RamLayout::create(row.ram_bytes).value();
    CHECK(std::vector<AddressRange>(ram.ranges().begin(), ram.ranges().end()) == row.ranges);
    CHECK_EQ(ram.ram_bytes(), row.ram_bytes);
  }
}

TEST_CASE("memory sizes out of bounds or not in whole MiB are refused") {
  for (const uint64_t bad : {uint64_t{0}, 63 * kMiB, 16 * kGiB + kMiB, 64 * kMiB + 4096, ~uint64_t{0}}) {
    CAPTURE(bad);
    const auto ram = RamLayout::create(bad);
    REQUIRE_FALSE(ram.has_value());
    CHECK_EQ(ram.error().code, Code::invalid_argument);
  }
}

TEST_CASE("the e820 table covers all RAM, in order, apart from the firmware's areas") {
  for (const uint64_t ram_bytes : {64 * kMiB, 3 * kGiB, 8 * kGiB}) {
    CAPTURE(ram_bytes);
    const auto entries = RamLayout::create(ram_bytes).value().e820();
    uint64_t end = 0;
    uint64_t ram_total = 0;
    for (const E820Entry& entry : entries) {
      CHECK_GE(entry.range.addr, end);
      end = entry.range.end();
      if (entry.type == E820Type::ram) ram_total += entry.range.len_bytes;
      const bool in_hole = entry.range.addr < kMmioHoleEnd && entry.range.end() > kMmioHoleAddr;
      CHECK_FALSE(in_hole);
    }
    CHECK_EQ(ram_total, ram_bytes - (kHighRamAddr - kLowRamEnd));
  }
}

TEST_CASE("only RAM at or above 1 MiB and outside the hole is loadable") {
  const RamLayout ram = RamLayout::create(4 * kGiB).value();
  struct Row {
    AddressRange range;
    bool loadable;
  };
  const std::vector<Row> rows = {
      {{kHighRamAddr, 1}, true},       {{kHighRamAddr - 1, 1}, false},
      {{3 * kGiB - 4096, 4096}, true}, {{3 * kGiB - 4096, 4097}, false},
      {{3 * kGiB, 1}, false},          {{4 * kGiB, kGiB}, true},
      {{4 * kGiB, kGiB + 1}, false},   {{3 * kGiB - 1, kGiB + 2}, false},
      {{~uint64_t{0}, 2}, false},      {{kHighRamAddr, ~uint64_t{0}}, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.range.addr);
    CAPTURE(row.range.len_bytes);
    CHECK_EQ(ram.loadable(row.range), row.loadable);
  }
}

TEST_CASE("an initrd goes as high as its limits allow, on a page") {
  const RamLayout small = RamLayout::create(128 * kMiB).value();
  const RamLayout large = RamLayout::create(8 * kGiB).value();
  CHECK_EQ(place_initrd(small, 60 * kMiB, 5000).value(), AddressRange{128 * kMiB - 8192, 5000});
  CHECK_EQ(place_initrd(large, 60 * kMiB, 4096).value(), AddressRange{3 * kGiB - 4096, 4096});
  CHECK_EQ(place_initrd(large, 60 * kMiB, 4096, 2 * kGiB).value(), AddressRange{2 * kGiB - 4096, 4096});
  CHECK_EQ(place_initrd(small, 60 * kMiB, 68 * kMiB).value(), AddressRange{60 * kMiB, 68 * kMiB});
}

TEST_CASE("an initrd that does not fit beside the kernel is refused with the sizes") {
  const RamLayout ram = RamLayout::create(128 * kMiB).value();
  for (const uint64_t bytes : {68 * kMiB + 1, 200 * kMiB, ~uint64_t{0}}) {
    const auto place = place_initrd(ram, 60 * kMiB, bytes);
    REQUIRE_FALSE(place.has_value());
    CHECK(place.error().message.contains("128.0 MiB of guest memory"));
    CHECK(place.error().message.contains("give the guest more memory"));
  }
  CHECK_FALSE(place_initrd(ram, 60 * kMiB + 1, 68 * kMiB).has_value());
  CHECK_FALSE(place_initrd(ram, 200 * kMiB, 1).has_value());
}

TEST_CASE("virtio windows are pages of the hole, apart from each other, with interrupts of the I/O APIC") {
  for (uint32_t i = 0; i < kMaxVirtioDevices; ++i) {
    const MmioWindow window = virtio_window(i);
    CHECK_EQ(window.addr, kVirtioMmioAddr + uint64_t{i} * 4096);
    CHECK_EQ(window.gsi, 16 + i);
    CHECK_LT(window.gsi, 24);
  }
}

}  // namespace lambdo::kvm
