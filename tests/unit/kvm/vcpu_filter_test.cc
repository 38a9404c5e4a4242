#include "kvm/vcpu_filter.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <latch>

#include "kvm/vcpu_threads.h"

#include "test.h"

namespace lambdo::kvm {
namespace {

/// What a call gives that was refused: its errno; 0 where it went through.
template <typename Call>
int refusal(Call call) {
  errno = 0;
  return call() < 0 ? errno : 0;
}

/// Runs `check` in a child, for a filter cannot be taken off again; false where it says so or dies.
template <typename Check>
bool in_child(Check check) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(check() ? 0 : 1);
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_CASE("a confined thread opens nothing, connects nothing and starts nothing") {
  CHECK(in_child([] {
    if (!VcpuFilter::create().value().confine_thread()) return false;
    char* const arguments[] = {nullptr};
    return refusal([] { return ::open("/dev/null", O_RDONLY); }) == EPERM &&
           refusal([] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }) == EPERM &&
           refusal([&] { return ::execve("/bin/true", arguments, arguments); }) == EPERM &&
           refusal([] { return ::fork(); }) == EPERM && refusal([] { return ::dup(0); }) == EPERM &&
           refusal([] { return ::kill(::getpid(), 0); }) == EPERM &&
           // TCGETS: not one of KVM's.
           refusal([] { return ::ioctl(0, 0x5401, nullptr); }) == EPERM;
  }));
}

TEST_CASE("a confined thread has memory, but none with code in it") {
  CHECK(in_child([] {
    if (!VcpuFilter::create().value().confine_thread()) return false;
    const auto map = [](int protection) {
      return ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    };
    void* page = map(PROT_READ | PROT_WRITE);
    return page != MAP_FAILED && map(PROT_READ | PROT_EXEC) == MAP_FAILED &&
           ::mprotect(page, 4096, PROT_READ | PROT_EXEC) != 0 && ::munmap(page, 4096) == 0;
  }));
}

TEST_CASE("threads that run vCPUs are confined, and so are those that they start") {
  VcpuThreads threads;
  int refused = 0;
  int refused_inside = 0;
  std::latch done(2);
  const auto must_start = [](const Error& error) { FAIL(error.message); };
  threads.run(
      [&] {
        refused = refusal([] { return ::open("/dev/null", O_RDONLY); });
        threads.run(
            [&] {
              refused_inside = refusal([] { return ::open("/dev/null", O_RDONLY); });
              done.count_down();
            },
            must_start);
        done.count_down();
      },
      must_start);
  done.wait();
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
  CHECK_EQ(refused, EPERM);
  CHECK_EQ(refused_inside, EPERM);
#endif
}

}  // namespace
}  // namespace lambdo::kvm
