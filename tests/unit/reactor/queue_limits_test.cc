#include <functional>
#include <numeric>
#include <set>

#include "harness.h"
#include "reactor/event.h"
#include "reactor/operations.h"
#include "reactor/scope.h"

#include "test.h"

namespace lambdo::reactor {

/// Queue sizes from the smallest there are; hundreds of operations go through each.
static const std::array<ReactorOptions, 4> kTinyQueues = {{
    {.submission_entries = 1, .completion_entries = 1},
    {.submission_entries = 2, .completion_entries = 2},
    {.submission_entries = 2, .completion_entries = 64},
    {.submission_entries = 8, .completion_entries = 8},
}};

static constexpr size_t kPairs = 400;

static std::vector<std::pair<Fd, Fd>> many_pairs() {
  std::vector<std::pair<Fd, Fd>> pairs;
  pairs.reserve(kPairs);
  for (size_t i = 0; i < kPairs; ++i) pairs.push_back(socket_pair());
  return pairs;
}

static Task<> receive_number(Reactor& reactor, int fd, CancelToken token, std::multiset<int>& received) {
  int number = -1;
  const auto count = co_await ReceiveOp(reactor, fd, std::as_writable_bytes(std::span(&number, 1)), token);
  received.insert(count && *count == sizeof number ? number : -1);
}

static Task<> send_number(Reactor& reactor, int fd, int number) {
  CHECK_EQ((co_await SendOp(reactor, fd, std::as_bytes(std::span(&number, 1)))).value(), sizeof number);
}

static std::multiset<int> all_numbers() {
  std::vector<int> numbers(kPairs);
  std::iota(numbers.begin(), numbers.end(), 0);
  return {numbers.begin(), numbers.end()};
}

static Task<std::multiset<int>> send_through(Reactor& reactor, const std::vector<std::pair<Fd, Fd>>& pairs) {
  std::multiset<int> received;
  Scope scope(reactor);
  for (const auto& pair : pairs) scope.spawn(receive_number(reactor, pair.first.get(), {}, received));
  for (size_t i = 0; i < pairs.size(); ++i) {
    scope.spawn(send_number(reactor, pairs[i].second.get(), static_cast<int>(i)));
  }
  co_await scope.join();
  co_return received;
}

/// Runs a test over pairs of sockets in a reactor of each size; nothing may be left in flight.
static void with_tiny_queues(
    const std::function<void(Reactor& reactor, const std::vector<std::pair<Fd, Fd>>& pairs)>& test) {
  const auto pairs = many_pairs();
  for (const ReactorOptions& options : kTinyQueues) {
    CAPTURE(options.submission_entries);
    CAPTURE(options.completion_entries);
    auto reactor = make_reactor(options);
    test(*reactor, pairs);
    CHECK_EQ(reactor->in_flight(), 0U);
  }
}

TEST_CASE("hundreds of operations at once pass a submission queue of a few entries") {
  with_tiny_queues([](Reactor& reactor, const auto& pairs) {
    CHECK_EQ(reactor.run(send_through(reactor, pairs)), all_numbers());
  });
}

/// Written past the ring: all completes while the loop looks away.
static void write_numbers(const std::vector<std::pair<Fd, Fd>>& pairs, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) {
    const int number = static_cast<int>(i);
    CHECK_EQ(::write(pairs[i].second.get(), &number, sizeof number), static_cast<ssize_t>(sizeof number));
  }
}

static Task<std::multiset<int>> overflow(Reactor& reactor, const std::vector<std::pair<Fd, Fd>>& pairs) {
  std::multiset<int> received;
  Scope scope(reactor);
  for (const auto& pair : pairs) scope.spawn(receive_number(reactor, pair.first.get(), {}, received));
  co_await let_run(reactor, 2);
  CHECK_EQ(reactor.in_flight(), pairs.size());
  write_numbers(pairs, 0, pairs.size());
  co_await scope.join();
  co_return received;
}

TEST_CASE("hundreds of completions at once survive a completion queue of a few entries") {
  with_tiny_queues([](Reactor& reactor, const auto& pairs) {
    for (int round = 0; round < 5; ++round) CHECK_EQ(reactor.run(overflow(reactor, pairs)), all_numbers());
  });
}

static Task<> overflow_with_mail(Reactor& reactor, const std::vector<std::pair<Fd, Fd>>& pairs) {
  std::multiset<int> received;
  Event delivered(reactor);
  Scope scope(reactor);
  for (const auto& pair : pairs) scope.spawn(receive_number(reactor, pair.first.get(), {}, received));
  co_await let_run(reactor, 2);
  write_numbers(pairs, 0, pairs.size() / 2);
  reactor.mailbox().post([&] { delivered.set(); });
  write_numbers(pairs, pairs.size() / 2, pairs.size());
  co_await scope.join();
  (void)co_await delivered.wait();
}

TEST_CASE("mail is delivered although its wake-up found the completion queue full") {
  with_tiny_queues([](Reactor& reactor, const auto& pairs) {
    for (int round = 0; round < 5; ++round) reactor.run(overflow_with_mail(reactor, pairs));
  });
}

static Task<std::multiset<int>> cancel_all(Reactor& reactor, const std::vector<std::pair<Fd, Fd>>& pairs) {
  std::multiset<int> received;
  Scope scope(reactor);
  for (const auto& pair : pairs) {
    scope.spawn(receive_number(reactor, pair.first.get(), scope.token(), received));
  }
  co_await let_run(reactor, 2);
  scope.cancel();
  co_await scope.join();
  co_return received;
}

TEST_CASE("hundreds of operations are cancelled through queues of a few entries") {
  with_tiny_queues([](Reactor& reactor, const auto& pairs) {
    CHECK_EQ(reactor.run(cancel_all(reactor, pairs)).count(-1), kPairs);
    CHECK_EQ(reactor.in_flight(), 0U);
    CHECK_EQ(reactor.run(send_through(reactor, pairs)), all_numbers());  // and none ate a byte
  });
}

TEST_CASE("a ring with fewer completion than submission entries is caught") {
  CHECK(aborts([] { (void)Reactor::create({.submission_entries = 8, .completion_entries = 4}); }));
}

}  // namespace lambdo::reactor
