#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "base/syscalls.h"
#include "sandbox_fixture.h"
#include "test.h"

namespace lambdo::namespaces {

using reactor::Task;

static Task<> see_nothing_of_the_host(Sandboxes& sandboxes) {
  const Probe probe = co_await start_probe(sandboxes, sandboxes.spec());
  CHECK(probe.ask("file /etc/image-file") == "of the image");
  CHECK(probe.ask("file /etc/passwd") == "errno 2");
  CHECK(probe.ask("folder /workspace") == "");
  CHECK(probe.ask("folder /home").starts_with("errno"));
  CHECK(probe.ask("file /proc/1/comm") == "agent\n");
  CHECK(probe.ask("file /proc/sys/kernel/hostname") == "lambdo\n");
  CHECK(probe.ask("file /proc/self/cgroup").find("lambdo-") == std::string::npos);
  CHECK(probe.ask("environment").find("GREETING=good day\n") != std::string::npos);

  // Only its own processes, mounts and the loopback interface.
  const std::string proc = probe.ask("folder /proc");
  CHECK(proc.find("1 ") != std::string::npos);
  CHECK(proc.find(std::to_string(::getpid()) + " ") == std::string::npos);
  const std::string devices = probe.ask("file /proc/net/dev");
  CHECK(devices.find("lo:") != std::string::npos);
  CHECK(std::ranges::count(devices, '\n') == 3);
  std::istringstream mounts(probe.ask("file /proc/self/mounts"));
  // Without the privilege to make device nodes each is a mount.
  const std::string allowed =
      " / /dev /.lambdo/agent /proc /tmp /workspace /dev/shm"
      " /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty ";
  for (std::string device, target, rest; mounts >> device >> target && std::getline(mounts, rest);) {
    CHECK_MESSAGE(allowed.find(" " + target + " ") != std::string::npos, target);
    CHECK(rest.find("nosuid") != std::string::npos);
  }

  const std::string status = probe.ask("file /proc/self/status");
  for (const char* line :
       {"Uid:\t1000\t1000\t1000\t1000", "Gid:\t1000\t1000\t1000\t1000", "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "SigIgn:\t0000000000000000",
        "SigBlk:\t0000000000000000", "Groups:\t \n"}) {
    CHECK_MESSAGE(status.find(line) != std::string::npos, line << " not in\n" << status);
  }
  CHECK(probe.ask("descriptors") == "0=/dev/null 1=/dev/null 2=pipe 3=socket ");
  CHECK(co_await sandboxes.launcher().destroy(probe.id));
}

TEST_CASE("a sandbox shows its image and itself and nothing of the host") {
  Sandboxes sandboxes;
  const std::vector<std::string>& warnings = sandboxes.launcher().warnings();
  const auto is_about_uids = [](const std::string& warning) {
    return warning.starts_with("sandboxes share");
  };
  CHECK(std::ranges::any_of(warnings, is_about_uids) == (::geteuid() != 0));
  // A descriptor that somebody forgot to close on exec.
  const int leaked = ::fcntl(0, F_DUPFD, 90);
  sandboxes.run(see_nothing_of_the_host(sandboxes));
  ::close(leaked);
}

static Task<> write_where_allowed(Sandboxes& sandboxes) {
  const Probe probe = co_await start_probe(sandboxes, sandboxes.spec());
  constexpr long kDiskBytes = 8L << 20;
  const std::string full = std::to_string(kDiskBytes) + " errno " + std::to_string(ENOSPC);
  for (const char* folder : {"/workspace", "/tmp", "/dev/shm"}) {
    CHECK(probe.ask("fill " + std::string(folder) + "/file") == full);
  }
  for (const char* path : {"/file", "/etc/file", "/dev/file", "/.lambdo/file"}) {
    CHECK(probe.ask("fill " + std::string(path)) == "0 errno " + std::to_string(EROFS));
  }
  // A program that runs cannot be written either; which of the two reasons comes first is the kernel's
  // choice.
  CHECK(probe.ask("fill /.lambdo/agent").starts_with("0 errno"));
  CHECK(probe.ask("fill /dev/full") == "0 errno " + std::to_string(ENOSPC));
  CHECK(probe.ask("file /dev/null") == "");
  CHECK(probe.ask("fill /proc/sys/kernel/hostname").starts_with("0 errno"));
  CHECK(co_await sandboxes.launcher().destroy(probe.id));
}

TEST_CASE("only the work areas can be written, up to their cap") {
  Sandboxes sandboxes;
  sandboxes.run(write_where_allowed(sandboxes));
}

/// What the filter lets through (0) and what it answers to the rest.
struct ExpectedCall {
  const char* call;
  int expected;
};
static constexpr ExpectedCall kExpectedCalls[] = {
    {"mount", EPERM},
    {"umount2", EPERM},
    {"fsopen", EPERM},
    {"open_tree", EPERM},
    {"mount_setattr", EPERM},
    {"open_tree_attr", EPERM},
    {"pivot_root", EPERM},
    {"chroot", EPERM},
    {"unshare user", EPERM},
    {"unshare files", EPERM},
    {"setns", EPERM},
    {"clone", 0},
    {"clone user", EPERM},
    {"clone pid", EPERM},
    {"clone net", EPERM},
    {"clone3", ENOSYS},
    {"ptrace", EPERM},
    {"process_vm_readv", EPERM},
    {"bpf", EPERM},
    {"keyctl", EPERM},
    {"add_key", EPERM},
    {"userfaultfd", EPERM},
    {"io_uring_setup", ENOSYS},
    {"perf_event_open", EPERM},
    {"kexec_load", EPERM},
    {"finit_module", EPERM},
    {"reboot", EPERM},
    {"syslog", EPERM},
    {"open_by_handle_at", EPERM},
    {"personality 0", 0},
    {"personality ask", 0},
    {"personality no_random", EPERM},
    {"personality all but one", EPERM},
    {"TIOCSTI", EPERM},
    {"TIOCSTI high bits", EPERM},
    {"TIOCLINUX", EPERM},
    {"AF_UNIX", 0},
    {"AF_INET", 0},
    {"AF_INET6", 0},
    {"AF_NETLINK route", 0},
    {"AF_NETLINK netfilter", EPROTONOSUPPORT},
    {"AF_PACKET", EAFNOSUPPORT},
    {"AF_VSOCK", EAFNOSUPPORT},
    {"AF_UNIX pair", 0},
    {"AF_VSOCK pair", EAFNOSUPPORT},
    {"AF_VSOCK high bits", EAFNOSUPPORT},
    {"AF_ALG", EAFNOSUPPORT},
    {"AF_KEY", EAFNOSUPPORT},
#ifdef __x86_64__
    {"x32 getpid", ENOSYS},
    {"i386 getpid", ENOSYS},
#endif
};

static Task<> call_the_kernel(Sandboxes& sandboxes) {
  const Probe probe = co_await start_probe(sandboxes, sandboxes.spec());
  std::map<std::string, int> seen;
  std::istringstream lines(probe.ask("calls"));
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = line.rfind('=');
    seen[line.substr(0, equals)] = std::stoi(line.substr(equals + 1));
  }
  for (const auto& [call, expected] : kExpectedCalls) {
    REQUIRE_MESSAGE(seen.contains(call), call);
    CHECK_MESSAGE(seen[call] == expected, call << ": " << seen[call]);
  }
  CHECK(seen.size() == std::size(kExpectedCalls));
  CHECK(co_await sandboxes.launcher().destroy(probe.id));
}

TEST_CASE(
    "the filter refuses what it should, with the errno that programs expect, and lets the rest through") {
  Sandboxes sandboxes;
  sandboxes.run(call_the_kernel(sandboxes));
}

static Task<> use_too_much(Sandboxes& sandboxes) {
  Launcher& launcher = sandboxes.launcher();
  const Probe probe = co_await start_probe(sandboxes, sandboxes.spec());
  // 32 tasks: bubblewrap, the probe, and these.
  CHECK(probe.ask("forks") == "30 errno " + std::to_string(EAGAIN));
  CHECK(co_await launcher.set_limits(probe.id, 64, 12));
  CHECK(probe.ask("forks") == "10 errno " + std::to_string(EAGAIN));

  CHECK(probe.ask("memory") == "signal 9");
  const Result<Usage> usage = co_await launcher.usage(probe.id);
  REQUIRE(usage);
  CHECK(usage->oom_kills == 1);
  CHECK(usage->memory_peak_bytes > 60 << 20);
  CHECK(usage->memory_peak_bytes <= 64 << 20);
  CHECK(usage->cpu_us > 0);

  CHECK(co_await launcher.set_limits(probe.id, 32, 12));
  CHECK(probe.ask("memory") == "signal 9");
  const Result<Usage> last = co_await launcher.destroy(probe.id);
  REQUIRE(last);
  CHECK(last->oom_kills == 2);
  CHECK(last->cpu_us >= usage->cpu_us);
}

TEST_CASE(
    "a memory bomb is killed and counted while the agent lives, a fork bomb is capped, limits can change") {
  if (!is_root("limits")) return;
  Sandboxes sandboxes;
  for (const std::string& warning : sandboxes.launcher().warnings()) {
    REQUIRE_MESSAGE(warning.find("not limited") == std::string::npos, warning);
  }
  sandboxes.run(use_too_much(sandboxes));
}

static Task<> separate_two(Sandboxes& sandboxes) {
  const Probe one = co_await start_probe(sandboxes, sandboxes.spec());
  const Probe two = co_await start_probe(sandboxes, sandboxes.spec());
  CHECK(one.ask("fill /workspace/secret") != "");
  CHECK(one.ask("fill /dev/shm/secret") != "");
  CHECK(two.ask("folder /workspace") == "");
  CHECK(two.ask("folder /dev/shm") == "");
  const std::string map = one.ask("file /proc/self/uid_map");
  CHECK(map != "");
  const std::vector<pid_t> first = processes_with_uid(kFirstUid, kFirstUid);
  const std::vector<pid_t> second = processes_with_uid(kFirstUid + 1, kFirstUid + 1);
  CHECK(first.size() == 2);
  CHECK(second.size() == 2);
  CHECK(co_await sandboxes.launcher().destroy(one.id));
  CHECK(co_await sandboxes.launcher().destroy(two.id));
}

TEST_CASE("two sandboxes have uids of their own and share no file") {
  if (!is_root("own uids")) return;
  Sandboxes sandboxes;
  sandboxes.run(separate_two(sandboxes));
}

static Task<> use_foreign_image(Sandboxes& sandboxes, SandboxSpec spec) {
  const Probe probe = co_await start_probe(sandboxes, std::move(spec));
  CHECK(probe.ask("file /etc/image-file") == "foreign");
  CHECK(probe.ask("folder /tmp") == "");
  CHECK(probe.ask("file /dev/null") == "");
  CHECK(probe.ask("fill /etc/file") == "0 errno " + std::to_string(EROFS));
  CHECK(probe.ask("fill /workspace/file") != "");
  CHECK(co_await sandboxes.launcher().destroy(probe.id));
}

TEST_CASE(
    "an image without our mount points, or with links in their place, works unchanged below a 0700 folder") {
  Sandboxes sandboxes;
  const TemporaryFolder folder;
  CHECK(::chmod(folder.path().c_str(), 0700) == 0);
  SandboxSpec spec = sandboxes.spec();
  spec.rootfs = folder.path() + "/foreign";
  std::filesystem::create_directories(spec.rootfs + "/etc");
  std::ofstream(spec.rootfs + "/etc/image-file") << "foreign";
  for (const char* link : {"proc", "dev", "tmp"}) {
    std::filesystem::create_directory_symlink("/usr", spec.rootfs + "/" + link);
  }
  sandboxes.run(use_foreign_image(sandboxes, spec));
  CHECK(std::filesystem::is_symlink(spec.rootfs + "/dev"));
  CHECK_FALSE(std::filesystem::exists(spec.rootfs + "/workspace"));
}

/// A network namespace that this thread is not in.
static Fd new_network() {
  const Fd home = sys::open("/proc/thread-self/ns/net", O_RDONLY).value();
  REQUIRE(::unshare(CLONE_NEWNET) == 0);
  Fd made = sys::open("/proc/thread-self/ns/net", O_RDONLY).value();
  REQUIRE(::setns(home.get(), CLONE_NEWNET) == 0);
  return made;
}

static ino_t inode_of(const Fd& fd) {
  struct stat status{};
  REQUIRE(::fstat(fd.get(), &status) == 0);
  return status.st_ino;
}

/// Network namespaces of all processes of sandboxes.
static std::set<ino_t> networks_in_use() {
  std::set<ino_t> inodes;
  for (const pid_t pid : processes_with_uid(kFirstUid, kFirstUid + 63)) {
    struct stat status{};
    if (::stat(("/proc/" + std::to_string(pid) + "/ns/net").c_str(), &status) == 0)
      inodes.insert(status.st_ino);
  }
  return inodes;
}

static Task<> start_in_a_network(Sandboxes& sandboxes) {
  SandboxSpec spec = sandboxes.spec();
  const Result<uint32_t> plain = co_await sandboxes.launcher().define(spec);
  spec.networked = true;
  spec.resolver_file = "nameserver 192.0.2.53\n";
  const Result<uint32_t> networked = co_await sandboxes.launcher().define(spec);
  REQUIRE_MESSAGE(networked, networked.error().message);
  Fd network = new_network();
  const ino_t inode = inode_of(network);
  auto sockets = sys::socketpair(SOCK_SEQPACKET).value();
  const auto id =
      co_await sandboxes.launcher().launch(*networked, std::move(sockets.second), std::move(network));
  REQUIRE_MESSAGE(id, id.error().message);
  const Probe probe{.id = *id, .socket = std::move(sockets.first)};
  CHECK(probe.ask("file /etc/resolv.conf") == "nameserver 192.0.2.53\n");
  CHECK(probe.ask("file /etc/hosts").find("localhost lambdo") != std::string::npos);
  CHECK(probe.ask("file /etc/image-file") == "of the image");
  CHECK(probe.ask("fill /etc/hosts") == "0 errno " + std::to_string(EROFS));
  CHECK(networks_in_use() == std::set<ino_t>{inode});
  CHECK(co_await sandboxes.launcher().destroy(probe.id));
  // Nothing of one language's network for another, and none where one is expected.
  for (const bool with_network : {true, false}) {
    auto pair = sys::socketpair(SOCK_SEQPACKET).value();
    const auto refused = co_await sandboxes.launcher().launch(
        with_network ? *plain : *networked, std::move(pair.second), with_network ? new_network() : Fd());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::invalid_argument);
  }
}

TEST_CASE("a sandbox with a network lives in the namespace that it is given, and knows its resolvers") {
  if (!is_root("a sandbox with a network")) return;
  Sandboxes sandboxes;
  sandboxes.run(start_in_a_network(sandboxes));
}

static Task<> refuse_bad_input(Sandboxes& sandboxes) {
  Launcher& launcher = sandboxes.launcher();
  SandboxSpec spec = sandboxes.spec();
  const struct {
    const char* rootfs;
    const char* agent;
    const char* message;
  } table[] = {{"/nowhere", nullptr, "rootfs /nowhere"},
               {"/etc/passwd", nullptr, "rootfs /etc/passwd is not a folder"},
               {nullptr, "/nowhere", "agent /nowhere"},
               {nullptr, "/etc/passwd", "agent /etc/passwd is not a program"}};
  for (const auto& [rootfs, agent, message] : table) {
    SandboxSpec bad = spec;
    if (rootfs != nullptr) bad.rootfs = rootfs;
    if (agent != nullptr) bad.agent_path = agent;
    const Result<uint32_t> kind = co_await launcher.define(bad);
    REQUIRE_FALSE(kind);
    CHECK_MESSAGE(kind.error().message.find(message) != std::string::npos, kind.error().message);
  }
  auto sockets = sys::socketpair(SOCK_SEQPACKET);
  REQUIRE(sockets);
  CHECK((co_await launcher.launch(77, std::move(sockets->second))).error().code == Code::not_found);
  CHECK((co_await launcher.destroy(77)).error().code == Code::not_found);
  CHECK((co_await launcher.usage(77)).error().code == Code::not_found);
  CHECK((co_await launcher.set_limits(77, 1, 1)).error().code == Code::not_found);
  CHECK((co_await launcher.launch(0, Fd())).error().code == Code::invalid_argument);
  const Probe probe = co_await start_probe(sandboxes, spec);
  CHECK_FALSE(co_await launcher.set_limits(probe.id, 0, 1));
  CHECK(probe.ask("say still there") == "said");
  CHECK(co_await launcher.destroy(probe.id));
}

TEST_CASE("wrong paths, kinds and sandboxes are named in the error, and the launcher goes on") {
  Sandboxes sandboxes;
  sandboxes.run(refuse_bad_input(sandboxes));
}

}  // namespace lambdo::namespaces
