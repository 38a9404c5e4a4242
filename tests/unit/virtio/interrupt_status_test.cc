#include "virtio/interrupt_status.h"

#include <linux/virtio_mmio.h>
#include <sched.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <latch>
#include <span>
#include <thread>
#include <vector>

#include "test.h"

namespace lambdo::virtio {

namespace {

constexpr uint32_t kUsed = VIRTIO_MMIO_INT_VRING;
constexpr uint32_t kConfig = VIRTIO_MMIO_INT_CONFIG;

uint32_t read_status(const InterruptStatus& status) {
  uint32_t value = 0;
  REQUIRE(status.read(VIRTIO_MMIO_INTERRUPT_STATUS, std::as_writable_bytes(std::span(&value, 1))));
  return value;
}

bool write_acknowledge(InterruptStatus& status, uint32_t bits) {
  return status.write(VIRTIO_MMIO_INTERRUPT_ACK, std::as_bytes(std::span(&bits, 1)));
}

/// The calling thread. On a busy machine two of them share a processor otherwise, and never meet. Where it
/// may not run there it stays.
void run_on(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  static_cast<void>(::sched_setaffinity(0, sizeof set, &set));
}

}  // namespace

TEST_CASE("a driver reads what was raised until it acknowledges it, and acknowledges what it names only") {
  InterruptStatus status;
  CHECK_EQ(read_status(status), 0);
  status.raise(kUsed);
  status.raise(kUsed);
  status.raise(kConfig);
  CHECK_EQ(read_status(status), kUsed | kConfig);
  CHECK_EQ(read_status(status), kUsed | kConfig);
  CHECK(write_acknowledge(status, 0));
  CHECK_EQ(read_status(status), kUsed | kConfig);
  CHECK(write_acknowledge(status, kUsed));
  CHECK_EQ(read_status(status), kConfig);
  CHECK(write_acknowledge(status, kUsed));
  CHECK_EQ(read_status(status), kConfig);
  status.raise(kUsed);
  CHECK(write_acknowledge(status, 0xffffffff));
  CHECK_EQ(read_status(status), 0);
  status.raise(kUsed);
  status.set(kConfig);
  CHECK_EQ(status.bits(), kConfig);
}

TEST_CASE("accesses of other sizes and at other offsets are the device's, and do nothing here") {
  struct Access {
    uint64_t offset;
    size_t len_bytes;
  };
  std::vector<Access> accesses = {{0, 4}, {VIRTIO_MMIO_STATUS, 4}, {VIRTIO_MMIO_CONFIG, 4}};
  for (const uint64_t at : {VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_INTERRUPT_ACK}) {
    for (const size_t len_bytes : {0, 1, 2, 3, 8}) accesses.push_back({at, len_bytes});
    for (const uint64_t offset : {at - 1, at + 1, at + 2, at + 0x100, at + (uint64_t{1} << 32)}) {
      accesses.push_back({offset, 4});
    }
  }
  InterruptStatus status;
  status.raise(kUsed | kConfig);
  std::array<std::byte, 8> bytes;
  bytes.fill(std::byte{0xff});
  const auto before = bytes;
  for (const auto& [offset, len_bytes] : accesses) {
    CAPTURE(offset);
    CAPTURE(len_bytes);
    const std::span access(bytes.data(), len_bytes);
    CHECK_FALSE(status.read(offset, access));
    CHECK_FALSE(status.write(offset, access));
  }
  CHECK_FALSE(status.read(VIRTIO_MMIO_INTERRUPT_ACK, std::span(bytes).first(4)));
  CHECK_FALSE(status.write(VIRTIO_MMIO_INTERRUPT_STATUS, std::span(bytes).first(4)));
  CHECK(bytes == before);
  CHECK_EQ(status.bits(), kUsed | kConfig);
}

TEST_CASE("two threads that raise and acknowledge at once lose none of each other's bits") {
  InterruptStatus status;
  std::latch both(2);
  // What a thread finds of its own bit is what it did last, whatever the other does.
  const auto count_wrong = [&](int cpu, uint32_t bit, int& wrong) {
    run_on(cpu);
    both.arrive_and_wait();
    for (int i = 0; i < 1'000'000; ++i) {
      status.raise(bit);
      wrong += (status.bits() & bit) == 0;
      status.acknowledge(bit);
      wrong += (status.bits() & bit) != 0;
    }
  };
  int wrong_used = 0;
  int wrong_config = 0;
  std::thread used(count_wrong, 0, kUsed, std::ref(wrong_used));
  std::thread config(count_wrong, 1, kConfig, std::ref(wrong_config));
  used.join();
  config.join();
  CHECK_EQ(wrong_used, 0);
  CHECK_EQ(wrong_config, 0);
  CHECK_EQ(status.bits(), 0);
}

}  // namespace lambdo::virtio
