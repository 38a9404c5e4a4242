#include "virtio/mmio.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "machine.h"
#include "test.h"

namespace lambdo::virtio {

using Machine = testing::LoopbackMachine;

TEST_CASE("every register reads as virtio 1.2, 4.2.2 says, after reset") {
  const Machine m;
  struct Case {
    uint64_t offset;
    uint32_t value;
  };
  const Case known[] = {{0x00, 0x74726976}, {0x04, 2},         {0x08, 42},         {0x0c, 0x444d424c},
                        {0x10, 0x30000001}, {0x34, 256},       {0xb0, 0xffffffff}, {0xb4, 0xffffffff},
                        {0xb8, 0xffffffff}, {0xbc, 0xffffffff}};
  for (uint64_t offset = 0; offset < 0x100; offset += 4) {
    CAPTURE(offset);
    const auto* found = std::ranges::find(known, offset, &Case::offset);
    CHECK_EQ(m.mmio.read(offset), found == std::end(known) ? 0 : found->value);
  }
}

TEST_CASE("registers answer aligned accesses of 4 bytes and no others") {
  Machine m;
  REQUIRE(m.start());
  const MmioState before = m.transport.save();
  for (uint64_t offset = 0; offset < 0x100; ++offset) {
    for (const size_t len_bytes : {0, 1, 2, 3, 4, 5, 8, 16}) {
      if (offset % 4 == 0 && len_bytes == 4) continue;
      CAPTURE(offset);
      CAPTURE(len_bytes);
      std::vector<std::byte> bytes(len_bytes, std::byte{0xff});
      m.transport.write(offset, bytes);
      m.transport.read(offset, bytes);
      CHECK(std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; }));
    }
  }
  CHECK_EQ(m.transport.save(), before);
  CHECK_EQ(m.device.notifications, 0);
}

TEST_CASE("writes to registers that are for reading only, or unknown, change nothing") {
  Machine m;
  REQUIRE(m.start());
  const MmioState before = m.transport.save();
  const std::array<uint64_t, 15> written = {0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64,
                                            0x70, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4};
  for (uint64_t offset = 0; offset < 0x100; offset += 4) {
    if (std::ranges::find(written, offset) != written.end()) continue;
    CAPTURE(offset);
    m.mmio.write(offset, 0xffffffff);
    m.mmio.write(offset, 1);
    CHECK_EQ(m.transport.save(), before);
  }
}

TEST_CASE("the configuration space answers every width and alignment, zero beyond its end") {
  Machine m;
  CHECK(m.mmio.negotiate(kFeatureVersion1));
  for (size_t i = 0; i < m.device.config.size(); ++i) m.device.config[i] = static_cast<std::byte>(i + 1);
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  for (uint64_t offset = 0; offset < 24; ++offset) {
    for (const size_t len_bytes : {1, 2, 3, 4, 8, 16}) {
      std::vector<std::byte> bytes(len_bytes, std::byte{0xff});
      m.transport.read(0x100 + offset, bytes);
      for (size_t i = 0; i < len_bytes; ++i) {
        CHECK_EQ(std::to_integer<uint64_t>(bytes[i]), offset + i < 12 ? offset + i + 1 : 0);
      }
    }
  }
  std::array<std::byte, 4> bytes = {std::byte{9}, std::byte{9}, std::byte{9}, std::byte{9}};
  m.transport.read(kMax, bytes);
  CHECK_EQ(bytes, std::array<std::byte, 4>{});
  m.transport.write(0x100 + 10, std::array{std::byte{0xaa}, std::byte{0xbb}, std::byte{0xcc}});
  CHECK_EQ(m.device.config[11], std::byte{0xbb});
  m.transport.write(kMax, bytes);
  // An access from the registers into the configuration space is neither.
  std::array<std::byte, 4> across{};
  m.transport.read(0xfe, across);
  CHECK_EQ(across, std::array<std::byte, 4>{});
}

TEST_CASE("the configuration space is written by a driver only") {
  Machine m;
  m.mmio.write(0x100, 1);
  m.mmio.set_status(status::kAcknowledge);
  m.mmio.write(0x100, 1);
  CHECK_EQ(m.device.config_writes, 0);
  m.mmio.set_status(status::kDriver);
  m.mmio.write(0x100, 1);
  CHECK_EQ(m.device.config_writes, 1);
  m.mmio.set_status(status::kFailed);
  m.mmio.write(0x100, 1);
  CHECK_EQ(m.device.config_writes, 1);
}

TEST_CASE("features are shown and taken by halves") {
  Machine m;
  const std::array<uint32_t, 4> shown = {0x30000001, 1, 0, 0};
  for (uint32_t select = 0; select < shown.size(); ++select) {
    m.mmio.write(0x14, select);
    CHECK_EQ(m.mmio.read(0x10), shown[select]);
  }
  m.mmio.write(0x14, 0xffffffff);
  CHECK_EQ(m.mmio.read(0x10), 0);

  struct Case {
    uint64_t features;
    bool accepted;
  };
  const Case cases[] = {{kFeatureVersion1, true},
                        {kFeatureVersion1 | kQueueFeatures | 1, true},
                        {kFeatureVersion1 | kFeatureEventIdx, true},
                        {0, false},
                        {kQueueFeatures, false},
                        {kFeatureVersion1 | 2, false},
                        {kFeatureVersion1 | uint64_t{1} << 33, false},
                        {kFeatureVersion1 | uint64_t{1} << 34, false},
                        {~uint64_t{0}, false}};
  for (const Case& c : cases) {
    CAPTURE(c.features);
    CHECK_EQ(m.mmio.negotiate(c.features), c.accepted);
  }
  // Halves that do not exist are not taken, nor is anything before DRIVER or after FEATURES_OK.
  m.mmio.write(0x70, 0);
  m.mmio.write_features(kFeatureVersion1);
  CHECK_EQ(m.transport.save().driver_features, 0);
  REQUIRE(m.mmio.negotiate(kFeatureVersion1));
  m.mmio.write_features(kFeatureVersion1 | 1);
  CHECK_EQ(m.transport.save().driver_features, kFeatureVersion1);
  m.mmio.write(0x70, 0);
  m.mmio.write(0x70, 3);
  m.mmio.write(0x24, 2);
  m.mmio.write(0x20, 0xffffffff);
  CHECK_EQ(m.transport.save().driver_features, 0);
}

TEST_CASE("refused features can be offered again, less of them") {
  Machine m;
  CHECK_FALSE(m.mmio.negotiate(kFeatureVersion1 | 4));
  CHECK_EQ(m.mmio.device_status(), 3);
  m.mmio.write_features(kFeatureVersion1);
  m.mmio.set_status(status::kFeaturesOk);
  CHECK_EQ(m.mmio.device_status(), 11);
}

TEST_CASE("the status only goes the way of virtio 1.2, 3.1.1") {
  struct Case {
    std::string name;
    std::vector<uint32_t> writes;
    uint32_t status;
  };
  const Case cases[] = {
      {"in order", {1, 3, 11, 15}, 15},
      {"at once, no features yet", {15}, 3},
      {"the second half at once", {3, 15}, 15},
      {"driver first", {2}, 0},
      {"features first", {8}, 0},
      {"driver ok first", {4}, 0},
      {"driver ok without features", {1, 3, 7}, 3},
      {"features without driver", {1, 9}, 1},
      {"driver ok without driver", {1, 5}, 1},
      {"clearing a bit", {1, 3, 11, 3}, 11},
      {"clearing acknowledge", {1, 2}, 1},
      {"unknown bits", {1 | 16 | 32 | 256 | 0x80000000}, 1},
      {"needs reset by the driver", {1, 1 | 64}, 1},
      {"failed", {1, 3, 3 | 128}, 3 | 128},
      {"failed at first", {128}, 128},
      {"nothing after failed", {1, 1 | 128, 3 | 128}, 1 | 128},
      {"failed and more at once", {1, 3 | 128}, 1 | 128},
      {"reset after failed", {1, 1 | 128, 0}, 0},
      {"reset and again", {1, 3, 11, 15, 0, 1}, 1},
      {"twice the same", {1, 1, 3, 3, 11, 11, 15, 15}, 15},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Machine m;
    for (const uint32_t value : c.writes) {
      // As a driver would that knows its features in advance.
      m.mmio.write_features(kFeatureVersion1);
      m.mmio.write(0x70, value);
    }
    CHECK_EQ(m.mmio.device_status(), c.status);
    CHECK_EQ(m.device.activations, c.status == 15 || c.name == "reset and again" ? 1 : 0);
  }
}

}  // namespace lambdo::virtio
