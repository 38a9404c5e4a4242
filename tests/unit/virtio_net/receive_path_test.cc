#include "virtio_net/receive_path.h"

#include "path_fixture.h"

#include "test.h"

namespace lambdo::virtio_net::testing {

/// A path with its fixture. Its driver merges no buffers, unless said, so that one buffer is enough.
struct Receiving : PathFixture {
  explicit Receiving(const NetOptions& net_options = {.mac = kGuestMac}, uint64_t features = Guest::kPlain)
      : PathFixture(net_options) {
    path.activate(queue, features);
  }
  /// Before the end: no read is left in the kernel.
  Task<> end() {
    path.deactivate();
    CHECK_FALSE(path.is_due());
    CHECK(co_await eventually(*reactor, [&] { return !path.is_busy(); }));
    CHECK_FALSE(path.is_due());
  }

  ReceivePath path{*reactor, host, tap, options, counters};
};

static Task<> receive_one(Receiving& r) {
  CHECK(r.path.is_due());
  CHECK(r.path.run().has_value());
  // There is no buffer: the path waits for the driver, and no longer than the driver does.
  CHECK_FALSE(r.path.is_due());
  CHECK_FALSE(r.path.is_busy());
  r.offer(2048);
  r.path.queue_notified();
  CHECK(r.path.is_due());
  CHECK(r.path.run().has_value());
  CHECK(r.path.is_busy());
  CHECK_FALSE(r.path.is_due());
  CHECK_EQ(r.queue.state().in_flight(), 1);
  CHECK(r.wire.send(host_frame(100)));
  CHECK(co_await eventually(*r.reactor, [&] { return r.path.is_due(); }));
  CHECK(r.path.run().has_value());
  CHECK_EQ(r.driver.take_used()->len_bytes, kHeaderBytes + 100);
  CHECK_EQ(r.counters.frames, 1U);
  co_await r.end();
}

TEST_CASE("a receive path waits for buffers, then for a frame, then delivers it") {
  Receiving r;
  r.reactor->run(receive_one(r));
}

static Task<> receive_with_less(Receiving& r) {
  r.offer(1536);
  CHECK(r.path.run().has_value());
  // One buffer is far from what the longest frame needs: the guest has a while to offer more.
  CHECK_FALSE(r.path.is_busy());
  CHECK_FALSE(r.path.is_due());
  CHECK_EQ(r.queue.state().in_flight(), 0);
  CHECK(co_await eventually(*r.reactor, [&] { return r.path.is_due(); }));
  CHECK(r.path.run().has_value());
  CHECK(r.path.is_busy());
  // With more buffers the read is asked for again.
  r.offer(1536);
  r.path.queue_notified();
  CHECK(co_await eventually(*r.reactor, [&] { return r.path.is_due(); }));
  CHECK_FALSE(r.path.is_busy());
  CHECK(r.path.run().has_value());
  CHECK_EQ(r.counters.drops, DirectionCounters{}.drops);
  co_await r.end();
}

TEST_CASE("a receive path short of buffers takes what there is after a while, and more when it comes") {
  Receiving r({.mac = kGuestMac}, Guest::kAll);
  r.reactor->run(receive_with_less(r));
}

static Task<> hold_back(Receiving& r) {
  for (int i = 0; i < 2; ++i) r.offer(2048);
  for (uint8_t i = 0; i < 2; ++i) CHECK(r.wire.send(host_frame(100, i)));
  CHECK(r.path.run().has_value());
  CHECK(co_await eventually(*r.reactor, [&] { return r.path.is_due(); }));
  CHECK(r.path.run().has_value());
  CHECK_EQ(r.counters.frames, 1U);
  CHECK_EQ(r.counters.pauses, 1U);
  CHECK_FALSE(r.path.is_due());
  CHECK_FALSE(r.path.is_busy());
  r.path.queue_notified();
  CHECK_FALSE(r.path.is_due());
  CHECK(co_await eventually(*r.reactor, [&] { return r.path.is_due(); }));
  co_await r.end();
}

TEST_CASE("a receive path that reached its limit is due when the limit lets the next frame pass") {
  Receiving r({.mac = kGuestMac, .receive_limits = {.packets = {.per_second = 4, .burst = 1}}});
  r.reactor->run(hold_back(r));
}

TEST_CASE("a receive path is not due while its device says that nothing may be received") {
  Receiving r;
  r.host.receives = false;
  CHECK_FALSE(r.path.is_due());
  CHECK(r.path.run().has_value());
  r.offer(2048);
  CHECK(r.path.run().has_value());
  CHECK_EQ(r.queue.state().next_avail, 0);
  r.host.receives = true;
  CHECK(r.path.is_due());
}

}  // namespace lambdo::virtio_net::testing
