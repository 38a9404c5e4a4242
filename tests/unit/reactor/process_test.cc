#include "reactor/process.h"

#include <csignal>

#include "harness.h"
#include "reactor/scope.h"

#include "test.h"

namespace lambdo::reactor {

namespace {

struct Child {
  pid_t pid = -1;
  Fd pidfd;
};

/// A child that runs `body` and exits with what it returns.
template <typename Body>
Child start(Body body) {
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid == 0) ::_exit(body());
  return {pid, sys::pidfd_open(pid).value()};
}

int sleep_for_ever() {
  while (true) ::pause();
}

}  // namespace

static bool is_reaped(const Child& child) {
  return ::waitpid(child.pid, nullptr, WNOHANG) < 0 && errno == ECHILD;
}

TEST_CASE("a child's exit code or signal is told, and the child reaped") {
  auto reactor = make_reactor();
  for (const int code : {0, 7, 255}) {
    const Child child = start([code] { return code; });
    CHECK_EQ(reactor->run(wait_process(*reactor, child.pidfd.get())).value(), code);
    CHECK(is_reaped(child));
  }
  for (const int signal : {SIGKILL, SIGTERM, SIGSEGV}) {
    const Child child = start([signal] {
      ::signal(signal, SIG_DFL);
      ::raise(signal);
      return 0;
    });
    CHECK_EQ(reactor->run(wait_process(*reactor, child.pidfd.get())).value(), 128 + signal);
    CHECK(is_reaped(child));
  }
}

TEST_CASE("a child already dead is told at once, one already reaped is nobody's") {
  auto reactor = make_reactor();
  const Child child = start([] { return 3; });
  siginfo_t info{};
  REQUIRE_EQ(::waitid(P_PID, static_cast<id_t>(child.pid), &info, WEXITED | WNOWAIT), 0);
  CHECK_EQ(reactor->run(wait_process(*reactor, child.pidfd.get())).value(), 3);
  CHECK_EQ(reactor->run(wait_process(*reactor, child.pidfd.get())).value(), -1);
}

TEST_CASE("the end of a process that is not our child is told without a code") {
  auto reactor = make_reactor();
  auto [reader, writer] = sys::pipe().value();
  const Child child = start([&] {
    const pid_t grandchild = ::fork();
    if (grandchild == 0) sleep_for_ever();
    return ::write(writer.get(), &grandchild, sizeof grandchild) == sizeof grandchild ? 0 : 1;
  });
  CHECK_EQ(reactor->run(wait_process(*reactor, child.pidfd.get())).value(), 0);
  pid_t grandchild = -1;
  REQUIRE_EQ(::read(reader.get(), &grandchild, sizeof grandchild), static_cast<ssize_t>(sizeof grandchild));
  const Fd pidfd = sys::pidfd_open(grandchild).value();
  REQUIRE(sys::pidfd_signal(pidfd.get(), SIGKILL).has_value());
  CHECK_EQ(reactor->run(wait_process(*reactor, pidfd.get())).value(), -1);
}

static Task<> wait_with_deadline(Reactor& reactor, const Child& child) {
  Deadline deadline(reactor, reactor.now_ns() + 2'000'000);
  const auto waited = co_await wait_process(reactor, child.pidfd.get(), deadline.token());
  CHECK_EQ(waited.error().code, Code::cancelled);
  CHECK(sys::pidfd_signal(child.pidfd.get(), SIGKILL).has_value());
  CHECK_EQ((co_await wait_process(reactor, child.pidfd.get())).value(), 128 + SIGKILL);
  CHECK(sys::pidfd_signal(child.pidfd.get(), SIGKILL).has_value());  // gone is as good as killed
}

TEST_CASE("waiting for a child can be cancelled and taken up again") {
  auto reactor = make_reactor();
  const Child child = start(sleep_for_ever);
  reactor->run(wait_with_deadline(*reactor, child));
}

static Task<> wait_for_code(Reactor& reactor, const Child& child, int code) {
  CHECK_EQ((co_await wait_process(reactor, child.pidfd.get())).value(), code);
}

static Task<> wait_for_many(Reactor& reactor, const std::vector<Child>& children) {
  Scope scope(reactor);
  for (size_t i = 0; i < children.size(); ++i) {
    scope.spawn(wait_for_code(reactor, children[i], static_cast<int>(i)));
  }
  co_await scope.join();
}

TEST_CASE("fifty children at once are each told apart") {
  auto reactor = make_reactor();
  std::vector<Child> children;
  children.reserve(50);
  for (int i = 0; i < 50; ++i) children.push_back(start([i] { return i; }));
  reactor->run(wait_for_many(*reactor, children));
}

}  // namespace lambdo::reactor
