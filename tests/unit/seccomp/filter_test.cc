#include "seccomp/filter.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <thread>

#include "seccomp/common_denials.h"

#include "forked_child.h"
#include "test.h"

namespace lambdo::seccomp {

namespace {

using test::ChildEnd;
using test::in_child;
using test::must_fail;
using test::must_work;
using test::run_in_child;

/// A filter that allows all but what `rules` say, on the calling process.
std::string confine(std::span<const Rule> rules, Lookup lookup = Lookup::linear) {
  const auto program = compile("a test", kAllow, {rules}, lookup);
  if (!program) return program.error().message + "\n";
  const Result<> confined = program->confine_process();
  return confined ? std::string() : confined.error().message + "\n";
}

}  // namespace

TEST_CASE("a refused call fails with its errno, others go through") {
  for (const Lookup lookup : {Lookup::linear, Lookup::binary}) {
    CHECK_EQ(in_child([lookup] {
               static constexpr Rule kRules[] = {
                   {"mkdir", refuse(EPERM)},
                   {"rmdir", refuse(ENOSYS)},
                   {.call = "by number", .verdict = refuse(EXDEV), .number = SYS_symlink}};
               std::string problems = confine(kRules, lookup);
               problems += must_fail("mkdir", ::syscall(SYS_mkdir, "", 0), EPERM);
               problems += must_fail("rmdir", ::syscall(SYS_rmdir, ""), ENOSYS);
               problems += must_fail("symlink", ::syscall(SYS_symlink, "", ""), EXDEV);
               return problems + must_fail("unlink", ::syscall(SYS_unlink, ""), ENOENT);
             }),
             "");
  }
}

TEST_CASE("a call that may not even be tried ends the process") {
  const ChildEnd end = run_in_child([] {
    static constexpr Rule kRules[] = {{"mkdir", kKillProcess}};
    const std::string problems = confine(kRules);
    if (problems.empty()) ::syscall(SYS_mkdir, "", 0);
    return problems + "alive";
  });
  REQUIRE(WIFSIGNALED(end.status));
  CHECK_EQ(WTERMSIG(end.status), SIGSYS);
}

TEST_CASE("conditions compare arguments with 64 bits, under a mask, and two at once") {
  static constexpr Rule kRules[] = {
      {"dup2", refuse(EPERM), {equals(0, 1000)}},
      {"lseek", refuse(EXDEV), {exceeds(1, 7)}},
      {"ioctl", refuse(ENOSYS), {equals_32_bits(1, 0x1234)}},
      {"fchmod", refuse(ENODEV), {masked(1, 0xf0, 0x20)}},
      {"socket", refuse(EPROTO), {equals(0, AF_UNIX), differs(1, SOCK_STREAM)}},
  };
  // Of a descriptor that there is not: what passes the filter fails with EBADF.
  constexpr int kNone = 999;
  CHECK_EQ(in_child([] {
             std::string problems = confine(kRules);
             problems += must_fail("dup2 1000", ::syscall(SYS_dup2, 1000, 5), EPERM);
             problems += must_fail("dup2 999", ::syscall(SYS_dup2, kNone, 5), EBADF);
             problems += must_fail("dup2 with bit 32", ::syscall(SYS_dup2, 1000 | 1L << 32, 5), EBADF);
             problems += must_fail("lseek 8", ::syscall(SYS_lseek, kNone, 8L, 0), EXDEV);
             problems += must_fail("lseek with bit 40", ::syscall(SYS_lseek, kNone, 1L << 40, 0), EXDEV);
             problems += must_fail("lseek 7", ::syscall(SYS_lseek, kNone, 7L, 0), EBADF);
             problems += must_fail("ioctl", ::syscall(SYS_ioctl, kNone, 0x1234L, 0), ENOSYS);
             problems +=
                 must_fail("ioctl, bit 32", ::syscall(SYS_ioctl, kNone, 0x1234 | 1L << 32, 0), ENOSYS);
             problems += must_fail("ioctl, another", ::syscall(SYS_ioctl, kNone, 0x1235L, 0), EBADF);
             problems += must_fail("fchmod 0x2f", ::syscall(SYS_fchmod, kNone, 0x2f), ENODEV);
             problems += must_fail("fchmod 0x3f", ::syscall(SYS_fchmod, kNone, 0x3f), EBADF);
             problems += must_fail("datagrams", ::socket(AF_UNIX, SOCK_DGRAM, 0), EPROTO);
             problems += must_work("a stream", ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
             return problems + must_work("datagrams of IP", ::socket(AF_INET, SOCK_DGRAM, 0) >= 0);
           }),
           "");
}

TEST_CASE("a list of what is allowed refuses the rest, also calls of other ABIs") {
  CHECK_EQ(in_child([] {
             static constexpr Rule kRules[] = {{"write", kAllow}, {"exit_group", kAllow}};
             const auto program = compile("a test", refuse(EPERM), {kRules});
             if (!program || !program->confine_thread()) return std::string("not confined");
             std::string problems = must_fail("getpid", ::syscall(SYS_getpid), EPERM);
             // A call of the x32 kind: bit 30 of its number.
             problems += must_fail("x32 write", ::syscall(SYS_write | (1 << 30), 1, nullptr, 0), ENOSYS);
             return problems + must_fail("write", ::syscall(SYS_write, 1000, nullptr, 0), EBADF);
           }),
           "");
}

TEST_CASE("a filter of a thread is for it and those that it starts, one of the process for all") {
  static constexpr Rule kRules[] = {{"mkdir", refuse(EXDEV)}};
  const auto try_with = [](Result<> (Program::*confine_it)() const, int before_errno) {
    const Program program = compile("a test", kAllow, {kRules}).value();
    std::atomic<bool> confined = false;
    std::string problems;
    std::thread before([&] {
      while (!confined) std::this_thread::yield();
      problems += must_fail("a thread from before", ::syscall(SYS_mkdir, "", 0), before_errno);
    });
    const Result<> result = (program.*confine_it)();
    confined = true;
    before.join();
    std::thread([&] { problems += must_fail("a new thread", ::syscall(SYS_mkdir, "", 0), EXDEV); }).join();
    return problems + must_work("confining", result.has_value());
  };
  CHECK_EQ(in_child([&] { return try_with(&Program::confine_thread, ENOENT); }), "");
  CHECK_EQ(in_child([&] { return try_with(&Program::confine_process, EXDEV); }), "");
}

TEST_CASE("a name that libseccomp does not know is an error, a call of another architecture is passed over") {
  static constexpr Rule kUnknown[] = {{"mkdir", refuse(EPERM)}, {"no_such_call", refuse(EPERM)}};
  CHECK_FALSE(compile("a test", kAllow, {kUnknown}).has_value());
  static constexpr Rule kElsewhere[] = {{"mkdir", refuse(EPERM)},
                                        {"breakpoint", refuse(EPERM)}};  // of 32-bit ARM
  static constexpr Rule kHere[] = {{"mkdir", refuse(EPERM)}};
  CHECK_EQ(compile("a test", kAllow, {kElsewhere}).value().instructions().size(),
           compile("a test", kAllow, {kHere}).value().instructions().size());
}

TEST_CASE("tables are joined, and the program also comes in a file") {
  static constexpr Rule kFirst[] = {{"mkdir", refuse(EPERM)}};
  static constexpr Rule kSecond[] = {{"rmdir", refuse(EPERM)}};
  const Program first = compile("a test", kAllow, {kFirst}).value();
  const Program both = compile("a test", kAllow, {kFirst, kSecond}).value();
  CHECK_EQ(both.instructions().size(), first.instructions().size() + 1);
  const Fd file = both.to_memfd().value();
  std::vector<sock_filter> read(both.instructions().size() + 1);
  CHECK_EQ(::pread(file.get(), read.data(), read.size() * sizeof read[0], 0),
           static_cast<ssize_t>(both.instructions().size_bytes()));
  CHECK_EQ(std::memcmp(read.data(), both.instructions().data(), both.instructions().size_bytes()), 0);
}

TEST_CASE("rules that libseccomp cannot compile are an error that says whose they are") {
  // The verdict of a call may not be what is done anyway.
  static constexpr Rule kRules[] = {{"mkdir", kAllow}};
  const auto program = compile("a test", kAllow, {kRules});
  REQUIRE_FALSE(program);
  CHECK(program.error().message.starts_with("seccomp filter of a test: "));
}

TEST_CASE("sockets of unusual families are refused, pairs are Unix sockets only") {
  CHECK_EQ(in_child([] {
             std::string problems = confine(kRefusedSocketFamilies);
             for (const int family : {AF_UNIX, AF_INET, AF_NETLINK}) {
               const int type = family == AF_NETLINK ? SOCK_RAW : SOCK_STREAM;
               problems += must_work("socket", ::socket(family, type, 0) >= 0);
             }
             for (const int family : {AF_PACKET, AF_VSOCK, AF_ALG, AF_KEY, AF_BRIDGE, AF_X25}) {
               problems += must_fail("socket", ::socket(family, SOCK_RAW, 0), EAFNOSUPPORT);
             }
             // The kernel reads 32 bits of a family, the filter 64.
             problems += must_fail("bit 32", ::syscall(SYS_socket, AF_INET | 1L << 32, SOCK_STREAM, 0L),
                                   EAFNOSUPPORT);
             int pair[2];
             problems += must_fail("socketpair", ::socketpair(AF_INET, SOCK_STREAM, 0, pair), EAFNOSUPPORT);
             return problems + must_work("a pair", ::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
           }),
           "");
}

}  // namespace lambdo::seccomp
