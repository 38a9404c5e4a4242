#include "virtio_net/transmit_path.h"

#include "path_fixture.h"

#include "test.h"

namespace lambdo::virtio_net::testing {

using virtio::Work;

/// A path with its fixture.
struct Transmitting : PathFixture {
  explicit Transmitting(const NetOptions& net_options = {.mac = kGuestMac}) : PathFixture(net_options) {
    path.activate(queue, Guest::kAll);
  }

  TransmitPath path{*reactor, host, tap, options, counters};
};

static Task<> write_one_batch(Transmitting& t) {
  CHECK_FALSE(t.path.is_due());
  t.put(guest_frame(100));
  t.put(guest_frame(200));
  CHECK_EQ(t.path.queue_notified().value(), Work::drained);
  CHECK(t.path.is_busy());
  CHECK_FALSE(t.path.is_due());
  // What comes meanwhile waits for the end of the batch.
  t.put(guest_frame(300));
  CHECK_EQ(t.path.queue_notified().value(), Work::drained);
  CHECK(co_await eventually(*t.reactor, [&] { return t.path.is_due(); }));
  CHECK_GT(t.host.wakes, 0);
  CHECK_FALSE(t.driver.take_used().has_value());
  CHECK(t.path.run().has_value());
  CHECK_EQ(t.counters.frames, 2U);
  CHECK_EQ(t.queue.state().in_flight(), 1);
  CHECK(co_await eventually(*t.reactor, [&] { return t.path.is_due(); }));
  CHECK(t.path.run().has_value());
  CHECK_EQ(t.counters.frames, 3U);
  CHECK_EQ(t.queue.state().in_flight(), 0);
  CHECK_FALSE(t.path.is_due());
}

TEST_CASE("a transmit path is due when its batch is written, and then gives the chains back") {
  Transmitting t;
  t.reactor->run(write_one_batch(t));
}

static Task<> hold_back(Transmitting& t) {
  t.put(guest_frame(100));
  t.put(guest_frame(100));
  CHECK_EQ(t.path.queue_notified().value(), Work::drained);
  CHECK(co_await eventually(*t.reactor, [&] { return t.path.is_due(); }));
  CHECK(t.path.run().has_value());
  // The second frame waits for the limit, whatever the driver says.
  CHECK_FALSE(t.path.is_busy());
  CHECK_FALSE(t.path.is_due());
  CHECK_EQ(t.path.queue_notified().value(), Work::drained);
  CHECK_EQ(t.counters.pauses, 1U);
  CHECK_EQ(t.counters.frames, 1U);
  CHECK(co_await eventually(*t.reactor, [&] { return t.path.is_due(); }));
  CHECK(t.path.run().has_value());
  CHECK(co_await eventually(*t.reactor, [&] { return t.path.is_due(); }));
  CHECK(t.path.finish().has_value());
  CHECK_EQ(t.counters.frames, 2U);
}

TEST_CASE("a transmit path that reached its limit is due when the limit lets the next frame pass") {
  Transmitting t({.mac = kGuestMac, .transmit_limits = {.packets = {.per_second = 4, .burst = 1}}});
  t.reactor->run(hold_back(t));
}

static Task<> lose_driver(Transmitting& t) {
  t.put(guest_frame(100));
  CHECK_EQ(t.path.queue_notified().value(), Work::drained);
  t.path.deactivate();
  CHECK(t.path.is_busy());
  // A new driver has to wait until the kernel is done with the batch of the one before.
  virtio::testing::DriverQueue next_driver(t.memory, 0x3000, PathFixture::kQueueSize);
  virtio::Queue next_queue = virtio::Queue::create(next_driver.state(), t.memory.guest()).value();
  t.path.activate(next_queue, Guest::kAll);
  CHECK_EQ(t.path.queue_notified().value(), Work::drained);
  CHECK(co_await eventually(*t.reactor, [&] { return t.path.is_due(); }));
  CHECK(t.path.run().has_value());
  CHECK_EQ(next_queue.state().next_used, 0);
  CHECK_FALSE(t.driver.take_used().has_value());
  t.path.deactivate();
  CHECK_FALSE(t.path.is_due());
  CHECK_EQ(t.path.queue_notified().value(), Work::drained);
}

TEST_CASE("a transmit path gives no chain back to a driver that is gone, nor to the next one") {
  Transmitting t;
  t.reactor->run(lose_driver(t));
}

TEST_CASE("a transmit path drops frames at once while the link is down") {
  Transmitting t;
  t.host.link_up = false;
  t.put(guest_frame(100));
  CHECK_EQ(t.path.queue_notified().value(), Work::drained);
  CHECK_EQ(t.counters.dropped(Drop::link_down), 1U);
  CHECK(t.driver.take_used().has_value());
  CHECK_FALSE(t.path.is_busy());
}

}  // namespace lambdo::virtio_net::testing
