#include "virtio/chain.h"

#include <sys/mman.h>

#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/mapping.h"
#include "driver.h"
#include "test.h"
#include "virtio/queue.h"

namespace lambdo::virtio {

using testing::DriverQueue;
using testing::TestMemory;

constexpr uint16_t kNext = Descriptor::kNext;
constexpr uint16_t kWrite = Descriptor::kWrite;
constexpr uint16_t kIndirect = Descriptor::kIndirect;
constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kTable = 0x4000;
constexpr uint64_t kData = 0x8000;
constexpr uint64_t kMemoryBytes = 0x10000;
constexpr uint16_t kSize = 4;

namespace {

/// Descriptors of the queue's table (of 4) and of an indirect table at kTable; the head is 0.
struct ChainCase {
  std::string name;
  std::vector<Descriptor> table;
  std::vector<Descriptor> indirect_table;
  std::string error;  // part of the message; empty: accepted
  size_t buffers = 0;
  uint16_t head = 0;
  bool indirect_allowed = true;
};

Result<std::optional<DescriptorChain>> pop(const TestMemory& memory, const ChainCase& c) {
  DriverQueue driver(memory, 0x1000, kSize);
  const QueueState state = driver.state(false, c.indirect_allowed);
  for (size_t i = 0; i < c.table.size(); ++i) driver.set_descriptor(static_cast<uint16_t>(i), c.table[i]);
  for (size_t i = 0; i < c.indirect_table.size(); ++i) {
    driver.set_entry(kTable, static_cast<uint16_t>(i), c.indirect_table[i]);
  }
  driver.offer(c.head);
  auto queue = Queue::create(state, memory.guest());
  auto chain = queue->pop();
  CHECK_EQ(queue->state().next_avail, state.next_avail + (chain.has_value() ? 1 : 0));
  return chain;
}

}  // namespace

TEST_CASE("what virtio 1.2, 2.7.4 and 2.7.5 forbid is refused, the rest accepted") {
  const Descriptor in{kData, 16, 0, 0};
  const ChainCase cases[] = {
      {"one readable", {in}, {}, "", 1},
      {"one writable", {{kData, 16, kWrite, 0}}, {}, "", 1},
      {"readable, then writable", {{kData, 16, kNext, 1}, {kData, 16, kWrite, 0}}, {}, "", 2},
      {"next is unused without NEXT", {{kData, 16, 0, 999}}, {}, "", 1},
      {"unknown flags are ignored", {{kData, 16, 0xfff8, 0}}, {}, "", 1},
      {"as long as the queue",
       {{kData, 1, kNext, 1}, {kData, 1, kNext, 2}, {kData, 1, kNext, 3}, {kData, 1, 0, 0}},
       {},
       "",
       4},
      {"the last byte of memory", {{kMemoryBytes - 1, 1, 0, 0}}, {}, "", 1},
      {"of no length: left out, its address not looked at",
       {{kMax, 0, kNext, 1}, {kData, 16, kNext, 2}, {kMax, 0, kWrite, 0}},
       {},
       "",
       1},
      {"of no length alone", {{kMax, 0, 0, 0}}, {}, "", 0},

      {"writable, then readable", {{kData, 16, kNext | kWrite, 1}, in}, {}, "after a device-writable"},
      {"writable of no length, then readable",
       {{kData, 0, kNext | kWrite, 1}, in},
       {},
       "after a device-writable"},
      {"loop onto itself", {{kData, 1, kNext, 0}}, {}, "longer than its queue"},
      {"loop of two", {{kData, 1, kNext, 1}, {kData, 1, kNext, 0}}, {}, "longer than its queue"},
      {"loop of no length", {{kData, 0, kNext, 0}}, {}, "longer than its queue"},
      {"next outside of the table", {{kData, 16, kNext, kSize}}, {}, "entry 4 of a table of 4"},
      {"next far outside", {{kData, 16, kNext, 0xffff}}, {}, "entry 65535"},
      {"head outside of the table", {in}, {}, "entry 4 of a table of 4", 0, kSize},
      {"past the end of memory", {{kMemoryBytes - 1, 2, 0, 0}}, {}, "not in one region"},
      {"outside of memory", {{kMemoryBytes, 1, 0, 0}}, {}, "not in one region"},
      {"address wraps", {{kMax, 2, 0, 0}}, {}, "not in one region"},
      {"address and length wrap", {{kMax - 0xff, 0xffffffff, 0, 0}}, {}, "not in one region"},
      {"second buffer is bad", {{kData, 16, kNext, 1}, {kMax, 1, kWrite, 0}}, {}, "not in one region"},

      {"indirect", {{kTable, 32, kIndirect, 0}}, {{kData, 16, kNext, 1}, {kData, 16, kWrite, 0}}, "", 2},
      {"indirect with WRITE, which means nothing", {{kTable, 16, kIndirect | kWrite, 0}}, {in}, "", 1},
      {"indirect after direct", {{kData, 16, kNext, 1}, {kTable, 16, kIndirect, 0}}, {in}, "", 2},
      {"indirect readable after direct writable",
       {{kData, 16, kNext | kWrite, 1}, {kTable, 16, kIndirect, 0}},
       {in},
       "after a device-writable"},
      {"indirect as long as the queue",
       {{kTable, 64, kIndirect, 0}},
       {{kData, 1, kNext, 1}, {kData, 1, kNext, 2}, {kData, 1, kNext, 3}, {kData, 1, 0, 0}},
       "",
       4},
      {"table longer than its chain", {{kTable, 0x1000, kIndirect, 0}}, {in}, "", 1},
      {"table off its alignment", {{kTable + 16 - 3, 16, kIndirect, 0}}, {}, "", 0},
      {"indirect longer than the queue",
       {{kTable, 80, kIndirect, 0}},
       {{kData, 1, kNext, 1},
        {kData, 1, kNext, 2},
        {kData, 1, kNext, 3},
        {kData, 1, kNext, 4},
        {kData, 1, 0, 0}},
       "longer than its queue"},
      {"direct and indirect together longer than the queue",
       {{kData, 1, kNext, 1}, {kTable, 64, kIndirect, 0}},
       {{kData, 1, kNext, 1}, {kData, 1, kNext, 2}, {kData, 1, kNext, 3}, {kData, 1, 0, 0}},
       "longer than its queue"},
      {"indirect loop",
       {{kTable, 32, kIndirect, 0}},
       {{kData, 1, kNext, 1}, {kData, 1, kNext, 0}},
       "longer than"},
      {"indirect in indirect",
       {{kTable, 16, kIndirect, 0}},
       {{kTable, 16, kIndirect, 0}},
       "in an indirect table"},
      {"indirect with NEXT", {{kTable, 16, kIndirect | kNext, 1}, in}, {in}, "goes on after"},
      {"indirect of no length", {{kTable, 0, kIndirect, 0}}, {in}, "table of 0 bytes"},
      {"indirect of 24 bytes", {{kTable, 24, kIndirect, 0}}, {in}, "table of 24 bytes"},
      {"indirect of 15 bytes", {{kTable, 15, kIndirect, 0}}, {in}, "table of 15 bytes"},
      {"indirect table outside of memory", {{kMemoryBytes - 16, 32, kIndirect, 0}}, {}, "not in one region"},
      {"indirect table wraps", {{kMax - 15, 32, kIndirect, 0}}, {}, "not in one region"},
      {"indirect next outside of its table",
       {{kTable, 16, kIndirect, 0}},
       {{kData, 1, kNext, 1}},
       "entry 1 of"},
      {"indirect not negotiated", {{kTable, 16, kIndirect, 0}}, {in}, "not negotiated", 0, 0, false},
  };
  for (const ChainCase& c : cases) {
    CAPTURE(c.name);
    const TestMemory memory({{0, kMemoryBytes}});
    const auto chain = pop(memory, c);
    if (c.error.empty()) {
      REQUIRE(chain.has_value());
      REQUIRE(chain->has_value());
      CHECK_EQ((*chain)->buffers().size(), c.buffers);
    } else {
      REQUIRE_FALSE(chain.has_value());
      CHECK_EQ(chain.error().code, Code::invalid_argument);
      CHECK_NE(chain.error().message.find(c.error), std::string::npos);
    }
  }
}

TEST_CASE("a buffer does not cross from one region into the next") {
  const TestMemory memory({{0, 0x10000}, {0x10000, 0x1000}});
  CHECK_FALSE(pop(memory, {"", {{0xfff8, 16, 0, 0}}, {}, ""}).has_value());
  CHECK(pop(memory, {"", {{0x10000, 16, 0, 0}}, {}, ""}).has_value());
}

TEST_CASE("a chain knows its readable and writable parts") {
  const TestMemory memory({{0, kMemoryBytes}});
  const auto popped = pop(
      memory, {"", {{kData, 10, kNext, 2}, {}, {kData + 100, 20, kNext, 3}, {0x9000, 5, kWrite, 0}}, {}, ""});
  const DescriptorChain chain = popped.value().value();
  CHECK_EQ(chain.head(), 0);
  CHECK_EQ(chain.readable().size(), 2);
  CHECK_EQ(chain.writable().size(), 1);
  CHECK_EQ(chain.readable_bytes(), 30);
  CHECK_EQ(chain.writable_bytes(), 5);
  CHECK_EQ(chain.readable()[1].data, memory.at(kData + 100));
  CHECK_EQ(chain.readable()[1].bytes().size(), 20);
  CHECK_EQ(chain.writable()[0].data, memory.at(0x9000));
  CHECK(chain.writable()[0].device_writable);
}

TEST_CASE("copies gather from readable and scatter to writable buffers, bounded by them") {
  const TestMemory memory({{0, kMemoryBytes}});
  DescriptorChain chain(0);
  std::memcpy(memory.at(kData, 8), "abcdefgh", 8);
  chain.append({memory.at(kData), 3, false});
  chain.append({memory.at(kData + 3), 5, false});
  chain.append({memory.at(kData + 0x101), 2, true});
  chain.append({memory.at(kData + 0x200), 4, true});

  struct Case {
    uint64_t offset;
    size_t wanted;
    std::string expected;
  };
  const Case cases[] = {{0, 8, "abcdefgh"}, {0, 3, "abc"}, {2, 2, "cd"}, {3, 9, "defgh"},    {7, 1, "h"},
                        {8, 4, ""},         {kMax, 4, ""}, {0, 0, ""},   {0, 64, "abcdefgh"}};
  for (const Case& c : cases) {
    CAPTURE(c.offset);
    std::string copied(c.wanted, '\0');
    copied.resize(chain.copy_readable(c.offset, std::as_writable_bytes(std::span(copied))));
    CHECK_EQ(copied, c.expected);
  }

  const auto bytes = std::as_bytes(std::span("123456789", 9));
  CHECK_EQ(chain.copy_writable(1, bytes), 5);
  CHECK_EQ(std::memcmp(memory.at(kData + 0x101, 3), "\0001\0", 3), 0);
  CHECK_EQ(std::memcmp(memory.at(kData + 0x200, 5), "2345\0", 5), 0);
  CHECK_EQ(chain.copy_writable(6, bytes), 0);
}

TEST_CASE("a copy of a chain has its buffers") {
  const TestMemory memory({{0, kMemoryBytes}});
  DescriptorChain chain(7);
  chain.append({memory.at(kData), 3, false});
  chain.append({memory.at(kData), 4, true});
  DescriptorChain copy = chain;
  const DescriptorChain& same = copy;
  copy = same;
  CHECK_EQ(copy.head(), 7);
  CHECK_EQ(copy.readable_bytes(), 3);
  CHECK_EQ(copy.writable_bytes(), 4);
  CHECK_EQ(copy.writable()[0].data, memory.at(kData));
}

TEST_CASE("a chain of more than 2^32 bytes is refused") {
  // One large reservation, untouched: only addresses are looked at.
  static constexpr size_t kHuge = size_t{3} << 30;
  auto mapping = Mapping::create(kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  REQUIRE(mapping.has_value());
  const MemoryRegion region{0, mapping->bytes()};
  const auto memory = GuestMemory::create({&region, 1}).value();
  const auto chain_of = [&](uint32_t second_bytes) {
    const std::array<Descriptor, 2> table = {Descriptor{0, 1U << 31, kNext, 1},
                                             Descriptor{0x1000, second_bytes, kWrite, 0}};
    DescriptorChain chain(0);
    return read_chain({memory, std::as_bytes(std::span(table)), false}, chain);
  };
  CHECK(chain_of(1U << 31).has_value());
  CHECK_EQ(chain_of((1U << 31) + 1).error().message, "descriptor chain is longer than 2^32 bytes");
}

}  // namespace lambdo::virtio
