#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

#include "harness.h"
#include "reactor/operations.h"

#include "test.h"

namespace lambdo::reactor {

/// Submits whatever a test prepares.
class AnyOp final : public SingleOperation {
 public:
  AnyOp(Reactor& reactor, void (*prepare)(io_uring_sqe*)) : SingleOperation(reactor, {}), prepare_(prepare) {}
  bool await_suspend(std::coroutine_handle<> awaiting) {
    io_uring_sqe* entry = begin(awaiting);
    prepare_(entry);
    launch(*entry);
    return true;
  }
  int await_resume() { return result(); }

 private:
  void (*prepare_)(io_uring_sqe*);
};

static Task<> submit(Reactor& reactor, void (*prepare)(io_uring_sqe*), int expected) {
  CHECK_EQ(co_await AnyOp(reactor, prepare), expected);
}

TEST_CASE("the ring refuses what the reactor never submits, and goes on") {
  const auto reactor = make_reactor();
  const struct {
    const char* name;
    void (*prepare)(io_uring_sqe*);
  } refused[] = {
      {"openat",
       [](io_uring_sqe* entry) { io_uring_prep_openat(entry, AT_FDCWD, "/dev/null", O_RDONLY, 0); }},
      {"socket", [](io_uring_sqe* entry) { io_uring_prep_socket(entry, AF_UNIX, SOCK_STREAM, 0, 0); }},
      {"unlink", [](io_uring_sqe* entry) { io_uring_prep_unlinkat(entry, AT_FDCWD, "/nonexistent", 0); }},
      {"splice", [](io_uring_sqe* entry) { io_uring_prep_splice(entry, -1, -1, -1, -1, 0, 0); }},
      {"no operation", [](io_uring_sqe* entry) { io_uring_prep_nop(entry); }},
      {"a flag that is not used",
       [](io_uring_sqe* entry) {
         io_uring_prep_poll_add(entry, 0, 0);
         entry->flags |= IOSQE_ASYNC;
       }},
  };
  for (const auto& each : refused) {
    CAPTURE(each.name);
    reactor->run(submit(*reactor, each.prepare, -EACCES));
  }
  reactor->run(
      submit(*reactor, [](io_uring_sqe* entry) { io_uring_prep_read(entry, -1, nullptr, 0, 0); }, -EBADF));
}

}  // namespace lambdo::reactor
