#include "vsock/connection.h"

#include <functional>

#include "guest.h"

#include "test.h"

namespace lambdo::vsock {

using testing::data_packet;
using testing::packet;

static constexpr uint64_t kCid = 3;

static Connection open_connection(uint32_t buf_alloc = 1000, uint32_t fwd_cnt = 0) {
  Header request = packet(Op::request, 1, 5);
  request.buf_alloc = buf_alloc;
  request.fwd_cnt = fwd_cnt;
  Connection connection = Connection::accepted(request, 1000);
  const auto response = connection.take_control(kCid);
  CHECK(response->op == static_cast<uint16_t>(Op::response));
  return connection;
}

static Connection dialling() {
  Connection connection = Connection::dialled({5, 1}, 1000);
  CHECK(connection.take_control(kCid)->op == static_cast<uint16_t>(Op::request));
  return connection;
}

static Connection half_closed() {
  Connection connection = open_connection();
  Header shutdown = packet(Op::shutdown, 1, 5);
  shutdown.flags = kShutdownSend;
  CHECK(connection.receive(shutdown) == Reaction::shut_down);
  return connection;
}

TEST_CASE("every operation has its answer in every phase") {
  struct Row {
    uint16_t op;
    Reaction undialled, dialling, open, half_closed;
  };
  using enum Reaction;
  static constexpr Row kRows[] = {
      {0, violation, violation, violation, violation},
      {1, violation, violation, violation, violation},
      {2, violation, established, violation, violation},
      {3, ended, ended, ended, ended},
      {4, violation, violation, shut_down, shut_down},
      {5, violation, violation, data, violation},
      {6, violation, violation, none, none},
      {7, violation, violation, none, none},
      {8, violation, violation, violation, violation},
      {0xffff, violation, violation, violation, violation},
  };
  for (const Row& row : kRows) {
    CAPTURE(row.op);
    Header header = packet(Op::request, 1, 5);
    header.op = row.op;
    header.len_bytes = row.op == 5 ? 10 : 0;
    header.flags = kShutdownReceive;
    Connection unsent = Connection::dialled({5, 1}, 1000);
    CHECK(unsent.receive(header) == row.undialled);
    Connection called = dialling();
    CHECK(called.receive(header) == row.dialling);
    Connection open = open_connection();
    CHECK(open.receive(header) == row.open);
    Connection half = half_closed();
    CHECK(half.receive(header) == row.half_closed);
  }
}

TEST_CASE("the guest may send as much as the buffer holds, and no byte more") {
  Connection connection = open_connection();
  CHECK(connection.receive(data_packet(1, 5, 0)) == Reaction::none);
  CHECK(connection.receive(data_packet(1, 5, 1000)) == Reaction::data);
  CHECK(connection.receive(data_packet(1, 5, 1)) == Reaction::violation);
  connection.forwarded(10);
  CHECK(connection.receive(data_packet(1, 5, 10)) == Reaction::data);
  CHECK(connection.receive(data_packet(1, 5, UINT32_MAX)) == Reaction::violation);
}

TEST_CASE("a credit update is due once the guest knows of less than half of the buffer") {
  Connection connection = open_connection();
  CHECK(connection.receive(data_packet(1, 5, 500)) == Reaction::data);
  connection.forwarded(500);
  CHECK_FALSE(connection.has_control());
  CHECK(connection.receive(data_packet(1, 5, 1)) == Reaction::data);
  CHECK_FALSE(connection.has_control());
  connection.forwarded(1);
  const auto update = connection.take_control(kCid);
  REQUIRE(update.has_value());
  CHECK_EQ(update->op, static_cast<uint16_t>(Op::credit_update));
  CHECK_EQ(update->fwd_cnt, 501U);
  CHECK_FALSE(connection.has_control());
  // A data packet tells as well.
  CHECK(connection.receive(data_packet(1, 5, 600)) == Reaction::data);
  connection.forwarded(600);
  CHECK(connection.has_control());
  CHECK_EQ(connection.take_data(kCid, 1).fwd_cnt, 1101U);
  CHECK_FALSE(connection.has_control());
}

TEST_CASE("what can be sent follows from what the guest says, whatever that is") {
  struct Row {
    uint32_t sent, buf_alloc, fwd_cnt, sendable;
  };
  static constexpr Row kRows[] = {
      {0, 1000, 0, 1000},
      {100, 1000, 0, 900},
      {100, 1000, 100, 1000},
      {1000, 1000, 0, 0},
      {100, 50, 0, 0},
      {100, 0, 100, 0},
      {100, 1000, 101, 0},
      {0, UINT32_MAX, 0, UINT32_MAX},
      {0, 1000, UINT32_MAX, 999},
  };
  for (const Row& row : kRows) {
    CAPTURE(row.fwd_cnt);
    Connection connection = open_connection(1000);
    static_cast<void>(connection.take_data(kCid, row.sent));
    Header update = packet(Op::credit_update, 1, 5);
    update.buf_alloc = row.buf_alloc;
    update.fwd_cnt = row.fwd_cnt;
    CHECK(connection.receive(update) == Reaction::none);
    CHECK_EQ(connection.sendable(), row.sendable);
  }
}

TEST_CASE("counts go on across 2^32") {
  Connection connection = open_connection(1 << 30, 0);
  uint32_t forwarded = 0;
  for (int i = 0; i < 10; ++i) {
    static_cast<void>(connection.take_data(kCid, 1 << 30));
    CHECK_EQ(connection.sendable(), 0U);
    forwarded += 1 << 30;
    Header update = packet(Op::credit_update, 1, 5);
    update.buf_alloc = 1 << 30;
    update.fwd_cnt = forwarded;
    static_cast<void>(connection.receive(update));
    CHECK_EQ(connection.sendable(), 1U << 30);
  }
}

TEST_CASE("directions that are shut down stay so, and are told once") {
  Connection connection = open_connection();
  connection.shut_down(kShutdownSend);
  CHECK_EQ(connection.take_control(kCid)->flags, kShutdownSend);
  connection.shut_down(kShutdownSend);
  CHECK_FALSE(connection.has_control());
  CHECK_EQ(connection.sendable(), 0U);
  connection.shut_down(kShutdownReceive);
  CHECK_EQ(connection.take_control(kCid)->flags, kShutdownBoth);
  CHECK_FALSE(connection.host_sends());
  CHECK_FALSE(connection.host_receives());

  Header shutdown = packet(Op::shutdown, 1, 5);
  CHECK(connection.receive(shutdown) == Reaction::none);
  shutdown.flags = 0xfffffffc;
  CHECK(connection.receive(shutdown) == Reaction::none);
  shutdown.flags = kShutdownReceive;
  CHECK(connection.receive(shutdown) == Reaction::shut_down);
  CHECK(connection.receive(shutdown) == Reaction::none);
  CHECK_FALSE(connection.guest_receives());
  CHECK(connection.guest_sends());
}

TEST_CASE("a credit request is due once for each time the credit ran out") {
  Connection connection = open_connection(10);
  static_cast<void>(connection.take_data(kCid, 10));
  connection.stalled();
  CHECK_EQ(connection.take_control(kCid)->op, static_cast<uint16_t>(Op::credit_request));
  connection.stalled();
  CHECK_FALSE(connection.has_control());
  Header update = packet(Op::credit_update, 1, 5);
  update.buf_alloc = 10;
  update.fwd_cnt = 10;
  static_cast<void>(connection.receive(update));
  static_cast<void>(connection.take_data(kCid, 10));
  connection.stalled();
  CHECK(connection.has_control());
}

}  // namespace lambdo::vsock
