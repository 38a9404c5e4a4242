#include "server/privileges.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "test.h"

namespace lambdo::server {

/// Of the calling thread: getpriority(2) knows threads as processes.
static int own_nice() {
  errno = 0;
  const int nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()));
  REQUIRE(errno == 0);
  return nice;
}

static int nice_in_new_thread() {
  int nice = 0;
  std::thread([&nice] { nice = own_nice(); }).join();
  return nice;
}

TEST_CASE("the event loop's thread goes first, and threads that it starts are ordinary") {
  // On a thread that ends, so that the tests that follow run as before.
  const int before = own_nice();
  int raised = 0;
  int child = 0;
  std::thread([&] {
    raise_priority();
    raised = own_nice();
    child = nice_in_new_thread();
  }).join();
  if (raised == before) {
    MESSAGE("skipped: no permission to raise a thread's priority");
    return;
  }
  CHECK(raised == -10);
  CHECK(child == 0);
  CHECK(own_nice() == before);
}

}  // namespace lambdo::server
