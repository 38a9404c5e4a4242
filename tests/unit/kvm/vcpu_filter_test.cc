#include "kvm/vcpu_filter.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <latch>
#include <string>

#include "kvm/vcpu_threads.h"

#include "forked_child.h"
#include "test.h"

namespace lambdo::kvm {
namespace {

/// What a call gives that was refused: its errno; 0 where it went through.
template <typename Call>
int refusal(Call call) {
  errno = 0;
  return call() < 0 ? errno : 0;
}

std::string must_confine() {
  const Result<VcpuFilter> filter = VcpuFilter::create();
  return test::must_work("confine_thread", filter && filter->confine_thread());
}

TEST_CASE("a confined thread opens nothing, connects nothing and starts nothing") {
  CHECK_EQ(test::in_child([] {
             std::string problems = must_confine();
             char* const arguments[] = {nullptr};
             problems += test::must_fail("open", ::open("/dev/null", O_RDONLY), EPERM);
             problems += test::must_fail("socket", ::socket(AF_UNIX, SOCK_STREAM, 0), EPERM);
             problems += test::must_fail("execve", ::execve("/bin/true", arguments, arguments), EPERM);
             problems += test::must_fail("fork", ::fork(), EPERM);
             problems += test::must_fail("dup", ::dup(0), EPERM);
             problems += test::must_fail("kill", ::kill(::getpid(), 0), EPERM);
             // TCGETS: not one of KVM's.
             return problems + test::must_fail("ioctl", ::ioctl(0, 0x5401, nullptr), EPERM);
           }),
           "");
}

TEST_CASE("a confined thread has memory, but none with code in it") {
  CHECK_EQ(test::in_child([] {
             std::string problems = must_confine();
             const auto map = [](int protection) {
               return ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
             };
             void* page = map(PROT_READ | PROT_WRITE);
             problems += test::must_work("mmap", page != MAP_FAILED);
             problems += test::must_work("no mmap of code", map(PROT_READ | PROT_EXEC) == MAP_FAILED);
             problems += test::must_fail("mprotect", ::mprotect(page, 4096, PROT_READ | PROT_EXEC), EPERM);
             return problems + test::must_work("munmap", ::munmap(page, 4096) == 0);
           }),
           "");
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
