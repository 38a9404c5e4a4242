#include "reactor/reactor.h"

#include <seccomp.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <thread>

#include "harness.h"
#include "reactor/operations.h"
#include "reactor/scope.h"

#include "test.h"

namespace lambdo::reactor {

/// What creating a reactor says in a process whose io_uring_setup(2) fails with `os_errno`.
static std::string create_without_io_uring(int os_errno) {
  auto [reader, writer] = sys::pipe().value();
  const int status = status_of_child([&] {
    scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ALLOW);
    ::seccomp_rule_add(filter, SCMP_ACT_ERRNO(static_cast<uint32_t>(os_errno)), SCMP_SYS(io_uring_setup), 0);
    if (::seccomp_load(filter) != 0) ::_exit(2);
    ::seccomp_release(filter);
    const auto reactor = Reactor::create();
    if (reactor) ::_exit(3);
    const std::string text = std::string(code_name(reactor.error().code)) + " " + reactor.error().message;
    if (!sys::write_all(writer.get(), text)) ::_exit(4);
  });
  CHECK_EQ(status, 0);
  writer.reset();
  std::string text(1000, '\0');
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, ::read(reader.get(), text.data(), text.size()))));
  return text;
}

TEST_CASE("without io_uring the reason comes with a remedy") {
  struct Case {
    int os_errno;
    const char* remedy;
  };
  for (const auto& [os_errno, remedy] : {
           Case{EPERM, "Operation not permitted; set the sysctl kernel.io_uring_disabled to 0"},
           Case{ENOSYS,
                "Function not implemented; this kernel has no io_uring or a seccomp profile hides it"},
           Case{EINVAL, "Invalid argument; Lambdo needs Linux 6.1 or newer"},
           Case{ENOMEM, "Cannot allocate memory; free memory or raise the limit on locked memory"},
           Case{EMFILE, "Too many open files; raise the limit on open files"},
       }) {
    CAPTURE(os_errno);
    const std::string text = create_without_io_uring(os_errno);
    CAPTURE(text);
    CHECK(text.starts_with("unavailable io_uring_setup: " + std::string(remedy)));
  }
}

static size_t mappings() {
  const std::string maps = sys::read_file("/proc/self/maps").value();
  return static_cast<size_t>(std::ranges::count(maps, '\n'));
}

static Task<> use_a_little(Reactor& reactor) {
  auto [a, b] = socket_pair();
  CHECK_EQ((co_await SendOp(reactor, a.get(), as_bytes("x"))).value(), 1U);
  SocketStream stream(reactor, std::move(b));
  CHECK_EQ((co_await stream.receive({})).value().bytes().size(), 1U);
}

TEST_CASE("a thousand reactors leave no descriptor and no mapping behind") {
  for (int i = 0; i < 50; ++i) make_reactor({.submission_entries = 8, .completion_entries = 8});
  const size_t descriptors_before = open_descriptors();
  const size_t mappings_before = mappings();
  for (int i = 0; i < 1000; ++i) {
    auto reactor = make_reactor({.submission_entries = 8, .completion_entries = 8});
    reactor->run(use_a_little(*reactor));
  }
  CHECK_EQ(open_descriptors(), descriptors_before);
  CHECK_LE(mappings(), mappings_before + 8);  // the allocator may take some
}

TEST_CASE("several reactors work side by side, each on its own thread") {
  // liburing maps the rings with system calls of its own, which ThreadSanitizer does not see: without an
  // order between the end of one ring and the start of another it takes an address used again for shared
  // memory.
  std::mutex mapping;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&mapping] {
      std::unique_lock lock(mapping);
      auto reactor = make_reactor();
      lock.unlock();
      for (int round = 0; round < 100; ++round) reactor->run(use_a_little(*reactor));
      lock.lock();
      reactor.reset();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

static Task<> block_for(Reactor& reactor, int64_t duration_ns) {
  co_await let_run(reactor);
  const int64_t end_ns = reactor.now_ns() + duration_ns;
  while (reactor.now_ns() < end_ns) {
  }
}

TEST_CASE("the statistics count every turn and show a long one") {
  auto reactor = make_reactor();
  reactor->run(let_run(*reactor, 100));
  const TurnStatistics before = reactor->statistics();
  CHECK_GE(before.turns, 100U);
  reactor->run(block_for(*reactor, 21'000'000));
  const TurnStatistics& after = reactor->statistics();
  uint64_t counted = 0;
  for (const uint64_t bucket : after.buckets) counted += bucket;
  CHECK_EQ(counted, after.turns);
  CHECK_EQ(after.buckets.back(), before.buckets.back() + 1);
  CHECK_GE(after.longest_ns, 21'000'000);
  CHECK_GE(after.total_ns - before.total_ns, 21'000'000);
}

static Task<> receive_byte(Reactor& reactor, int fd, bool& received) {
  std::array<std::byte, 1> buffer{};
  received = (co_await ReceiveOp(reactor, fd, buffer)).value() == 1;
}

static Task<int> busy_turns_until_received(Reactor& reactor) {
  auto [a, b] = socket_pair();
  bool received = false;
  Scope scope(reactor);
  scope.spawn(receive_byte(reactor, b.get(), received));
  co_await let_run(reactor, 3);
  CHECK_EQ(::write(a.get(), "x", 1), 1);
  int turns = 0;
  for (; !received && turns < 1000; ++turns) co_await let_run(reactor);
  CHECK(received);
  co_await scope.join();
  co_return turns;
}

TEST_CASE("a loop that always has something ready still takes completions at once") {
  for (const Configuration& configuration : kConfigurations) {
    CAPTURE(configuration.name);
    auto reactor = make_reactor(configuration.options);
    CHECK_LE(reactor->run(busy_turns_until_received(*reactor)), 3);
  }
}

static Task<uint64_t> turns_of_sleep(Reactor& reactor) {
  const uint64_t before = reactor.statistics().turns;
  (void)co_await SleepOp::for_ms(reactor, 20);
  co_return reactor.statistics().turns - before;
}

TEST_CASE("a loop with nothing to do sleeps and does not spin") {
  auto reactor = make_reactor();
  CHECK_LE(reactor->run(turns_of_sleep(*reactor)), 3U);
}

}  // namespace lambdo::reactor
