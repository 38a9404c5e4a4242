#include "server/server_filter.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <string>
#include <thread>

#include "base/syscalls.h"
#include "http/client/client.h"
#include "reactor/reactor.h"

#include "forked_child.h"
#include "test.h"

namespace lambdo::server {

// See server_filter.cc.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
static constexpr bool kMayStartProcesses = true;
#else
static constexpr bool kMayStartProcesses = false;
#endif

using test::in_child;
using test::must_fail;
using test::must_work;

static std::string must_install() {
  const Result<> installed = install_server_filter();
  return installed ? std::string() : installed.error().message;
}

static std::string try_denied() {
  std::string problems = must_install();
  problems += must_fail("mount", ::mount(nullptr, nullptr, nullptr, 0, nullptr), EPERM);
  problems += must_fail("unshare", ::unshare(CLONE_NEWUSER), EPERM);
  problems += must_fail("setuid", ::syscall(SYS_setuid, 0), EPERM);
  problems += must_fail("io_uring_setup", ::syscall(SYS_io_uring_setup, 1, nullptr), EPERM);
  problems += must_fail("bpf", ::syscall(SYS_bpf, 0, nullptr, 0), EPERM);
  problems += must_fail("packet socket", ::socket(AF_PACKET, SOCK_RAW, 0), EAFNOSUPPORT);
  problems += must_fail("vsock", ::socket(AF_VSOCK, SOCK_STREAM, 0), EAFNOSUPPORT);
  problems += must_fail("TIOCSTI", ::ioctl(0, TIOCSTI, "x"), EPERM);
  // A call of the x32 kind: bit 30 of its number.
  problems += must_fail("x32 getpid", ::syscall(SYS_getpid | (1 << 30)), ENOSYS);
  if (kMayStartProcesses) return problems;
  char program[] = "/bin/true";
  char* arguments[] = {program, nullptr};
  problems += must_fail("execve", ::execv(program, arguments), EPERM);
  problems += must_fail("fork", ::syscall(SYS_fork), EPERM);
  problems +=
      must_fail("vfork by clone", ::syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0), EPERM);
  problems += must_fail("clone3", ::syscall(SYS_clone3, nullptr, 0), ENOSYS);
  problems += must_fail("fork of libc", ::fork(), EPERM);
  problems += must_fail("ptrace", ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr), EPERM);
  return problems;
}

static std::string try_allowed() {
  std::string problems = must_install();
  bool ran = false;
  std::thread([&] { ran = true; }).join();
  problems += must_work("a thread", ran);
  problems += must_work("socketpair", sys::socketpair(SOCK_STREAM).has_value());
  problems += must_work("eventfd", sys::eventfd(0).has_value());
  const auto memory = sys::memfd("guest");
  problems += must_work("memfd", memory.has_value() && ::ftruncate(memory->get(), 4096) == 0);
  void* mapped = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, memory->get(), 0);
  problems += must_work("mmap", mapped != MAP_FAILED);
  problems += must_work("madvise", ::madvise(mapped, 4096, MADV_DONTNEED) == 0);
  for (const int family : {AF_UNIX, AF_INET, AF_NETLINK}) {
    const Fd socket(::socket(family, family == AF_NETLINK ? SOCK_RAW : SOCK_STREAM, 0));
    problems += must_work("socket", socket.valid());
  }
  const Fd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (kvm.valid()) {
    const Fd machine(::ioctl(kvm.get(), KVM_CREATE_VM, 0UL));
    problems += must_work("KVM_CREATE_VM", machine.valid());
  }
  return problems;
}

TEST_CASE("the server's filter denies programs, processes, namespaces and what else it never needs") {
  CHECK_EQ(in_child(try_denied), "");
}

TEST_CASE("the server's filter leaves threads, memory, sockets and KVM alone") {
  CHECK_EQ(in_child(try_allowed), "");
}

static std::string install_beside_a_thread() {
  std::string from_thread;
  std::atomic<bool> installed = false;
  std::thread before([&] {
    while (!installed) std::this_thread::yield();
    from_thread = must_fail("bpf", ::syscall(SYS_bpf, -1, nullptr, 0), EPERM);
  });
  std::string problems = must_install();
  installed = true;
  before.join();
  return problems + from_thread;
}

TEST_CASE("the filter holds for threads that were there before") {
  CHECK_EQ(in_child(install_beside_a_thread), "");
}

/// A server that answers one connection without reading much, and is no TLS server.
static uint16_t answer_one(Fd& listener, std::thread& thread) {
  listener = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t len_bytes = sizeof place;
  if (::listen(listener.get(), 4) < 0) return 0;
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&place), &len_bytes);
  thread = std::thread([fd = listener.get()] {
    const Fd connection(::accept(fd, nullptr, nullptr));
    char head[512];
    (void)::read(connection.get(), head, sizeof head);
    (void)sys::write_all(connection.get(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    (void)::read(connection.get(), head, sizeof head);
  });
  return ntohs(place.sin_port);
}

static std::string ask_outside() {
  std::string problems;
  Fd listener;
  std::thread thread;
  const uint16_t port = answer_one(listener, thread);
  const auto reactor = reactor::Reactor::create();
  http::ClientSettings settings;
  settings.proxies = {};
  // Nobody is there: all of a lookup but its answer.
  settings.name_servers = "127.0.0.1:1";
  const auto client = http::Client::create(*reactor.value(), settings);
  problems += must_install();
  const auto ask = [&](http::Url url) {
    http::ClientRequest request;
    request.url = std::move(url);
    return (*reactor)->run((*client)->fetch(std::move(request), 100));
  };
  const auto answer = ask({"http", "localhost", port, "/"});
  if (!answer) problems += answer.error().message + "\n";
  const auto named = ask({"http", "nobody.invalid", 80, "/"});
  if (named || named.error().code != Code::name_unresolved) problems += "a lookup went wrong\n";
  (*reactor)->run((*client)->close());
  thread.join();
  return problems;
}

TEST_CASE("the HTTP client works under the server's filter, names included") {
  CHECK_EQ(in_child(ask_outside), "");
}

}  // namespace lambdo::server
