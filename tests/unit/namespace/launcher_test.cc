#include "namespace/launcher.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>

#include "base/syscalls.h"
#include "reactor/timer.h"
#include "sandbox_fixture.h"
#include "test.h"

namespace lambdo::namespaces {

using reactor::Task;

static Task<bool> wait_until(Sandboxes& sandboxes, bool (*condition)(const Sandboxes&)) {
  constexpr int kTimeoutMs = 5000;
  const long long deadline_ns = sys::monotonic_ns() + kTimeoutMs * 1'000'000LL;
  while (!condition(sandboxes) && sys::monotonic_ns() < deadline_ns) {
    static_cast<void>(co_await reactor::SleepOp::for_ms(sandboxes.reactor(), 2));
  }
  co_return condition(sandboxes);
}

static Task<> tell_of_exits(Sandboxes& sandboxes) {
  const Probe leaver = co_await start_probe(sandboxes, sandboxes.spec());
  CHECK(leaver.ask("say last\twords") == "said");
  CHECK(leaver.ask("exit 3") == "");
  REQUIRE(co_await wait_until(sandboxes, [](const Sandboxes& all) { return all.exits.size() == 1; }));
  CHECK(sandboxes.exits[0].sandbox == leaver.id);
  CHECK(WEXITSTATUS(sandboxes.exits[0].wait_status) == 3);
  CHECK(sandboxes.exits[0].output == "last?words");
  CHECK(co_await sandboxes.launcher().destroy(leaver.id));

  // An agent that cannot be executed: bubblewrap says so, and its words arrive.
  SandboxSpec spec = sandboxes.spec();
  const TemporaryFolder folder;
  CHECK(::chmod(folder.path().c_str(), 0755) == 0);
  spec.agent_path = folder.path() + "/agent";
  std::ofstream(spec.agent_path) << "#!/no/interpreter\n";
  CHECK(::chmod(spec.agent_path.c_str(), 0755) == 0);
  const Probe broken = co_await start_probe(sandboxes, spec);
  REQUIRE(co_await wait_until(sandboxes, [](const Sandboxes& all) { return all.exits.size() == 2; }));
  CHECK_MESSAGE(sandboxes.exits[1].output.starts_with("bwrap: "), sandboxes.exits[1].output);
  CHECK(broken.ask("say x") == "");
  CHECK(co_await sandboxes.launcher().destroy(broken.id));
}

TEST_CASE("a sandbox that ends by itself is told, with its status and words") {
  Sandboxes sandboxes;
  sandboxes.run(tell_of_exits(sandboxes));
}

static Task<> launch_and_destroy(Sandboxes& sandboxes, uint32_t kind, int count) {
  for (int round = 0; round < count; ++round) {
    auto sockets = sys::socketpair(SOCK_SEQPACKET);
    REQUIRE(sockets);
    const Result<SandboxId> id = co_await sandboxes.launcher().launch(kind, std::move(sockets->second));
    REQUIRE_MESSAGE(id, id.error().message);
    const Probe probe{.id = *id, .socket = std::move(sockets->first)};
    // Some are destroyed before, some after their agent has started, some with processes that resist.
    if (round % 3 == 1) CHECK(probe.ask("say x") == "said");
    if (round % 3 == 2) CHECK(probe.ask("daemons") == "started");
    CHECK(co_await sandboxes.launcher().destroy(probe.id));
    CHECK(probe.ask("say x") == "");
  }
}

static Task<> keep_the_ledger(Sandboxes& sandboxes) {
  const Result<uint32_t> kind = co_await sandboxes.launcher().define(sandboxes.spec());
  REQUIRE(kind);
  co_await launch_and_destroy(sandboxes, *kind, 6);
  const size_t descriptors = open_descriptors(sandboxes.launcher_pid());
  const size_t own_descriptors = open_descriptors(::getpid());
  const std::string mounts = sys::read_file("/proc/self/mountinfo").value_or("?");
  const std::string stage_path = "/proc/" + std::to_string(sandboxes.launcher_pid()) + "/mountinfo";
  const std::string stage = sys::read_file(stage_path).value_or("?");

  reactor::Scope scope(sandboxes.reactor());
  for (int worker = 0; worker < 4; ++worker) scope.spawn(launch_and_destroy(sandboxes, *kind, 30));
  co_await scope.join();

  CHECK(open_descriptors(sandboxes.launcher_pid()) == descriptors);
  CHECK(open_descriptors(::getpid()) == own_descriptors);
  CHECK(processes_with_parent(sandboxes.launcher_pid()).empty());
  CHECK(processes_with_uid(kFirstUid, kFirstUid + 63).empty());
  CHECK(sys::read_file("/proc/self/mountinfo").value_or("") == mounts);
  CHECK(sys::read_file(stage_path).value_or("") == stage);
  for (const std::string& folder : cgroup_folders(sandboxes.options())) {
    for (const std::string& name : sys::list_directory(folder).value_or(std::vector<std::string>())) {
      CHECK_FALSE(std::filesystem::is_directory(folder + "/" + name));
    }
  }
}

TEST_CASE("after many launches and destroys nothing is left") {
  if (!is_root("ledger")) return;
  Sandboxes sandboxes;
  const pid_t launcher_pid = sandboxes.launcher_pid();
  CHECK_FALSE(cgroup_folders(sandboxes.options()).empty());
  sandboxes.run(keep_the_ledger(sandboxes));
  sandboxes.stop();
  CHECK_FALSE(process_exists(launcher_pid));
  CHECK(cgroup_folders(sandboxes.options()).empty());
}

static Task<> start_daemons(Sandboxes& sandboxes, std::vector<Probe>& probes) {
  for (int count = 0; count < 3; ++count) {
    probes.push_back(co_await start_probe(sandboxes, sandboxes.spec()));
    CHECK(probes.back().ask("daemons") == "started");
  }
}

TEST_CASE("stop destroys what still runs, and waits for it") {
  if (!is_root("stop")) return;
  Sandboxes sandboxes;
  std::vector<Probe> probes;
  sandboxes.run(start_daemons(sandboxes, probes));
  const pid_t launcher_pid = sandboxes.launcher_pid();
  sandboxes.stop();
  CHECK_FALSE(process_exists(launcher_pid));
  CHECK(processes_with_uid(kFirstUid, kFirstUid + 63).empty());
  CHECK(cgroup_folders(sandboxes.options()).empty());
  CHECK_FALSE(sandboxes.lost);
}

/// A server process of its own: starts sandboxes, says so with their launcher's pid, and waits for its end.
[[noreturn]] static void serve_until_killed(const LauncherOptions& options, SandboxSpec spec, int ready) {
  Result<LauncherProcess> process = Launcher::start_process(options);
  if (!process) ::_exit(1);
  const pid_t launcher_pid = process->process.pid;
  const auto reactor = std::move(*reactor::Reactor::create());
  Launcher launcher(*reactor, std::move(*process));
  std::vector<Fd> sockets;
  const auto start = [](Launcher& on, SandboxSpec what, std::vector<Fd>& kept) -> Task<bool> {
    const Result<uint32_t> kind = co_await on.define(std::move(what));
    if (!kind) co_return false;
    for (int count = 0; count < 3; ++count) {
      auto pair = sys::socketpair(SOCK_SEQPACKET);
      const Result<SandboxId> id = co_await on.launch(*kind, std::move(pair->second));
      if (!id) co_return false;
      kept.push_back(std::move(pair->first));
      if (Probe{.id = *id, .socket = Fd(::dup(kept.back().get()))}.ask("daemons") != "started")
        co_return false;
    }
    co_return true;
  };
  if (!reactor->run(start(launcher, std::move(spec), sockets))) ::_exit(1);
  static_cast<void>(::write(ready, &launcher_pid, sizeof launcher_pid));
  while (true) ::pause();
}

struct Server {
  pid_t pid = -1;
  pid_t launcher_pid = -1;
};

static Server start_server(const LauncherOptions& options, const SandboxSpec& spec) {
  auto ready = sys::pipe();
  REQUIRE(ready);
  Server server{.pid = ::fork()};
  if (server.pid == 0) serve_until_killed(options, spec, ready->second.get());
  ready->second.reset();
  REQUIRE(::read(ready->first.get(), &server.launcher_pid, sizeof server.launcher_pid) ==
          sizeof server.launcher_pid);
  return server;
}

static void kill_server(const Server& server) {
  ::kill(server.pid, SIGKILL);
  CHECK(::waitpid(server.pid, nullptr, 0) == server.pid);
}

struct ServerFiles {
  TemporaryFolder folder;
  LauncherOptions options;
  SandboxSpec spec;

  ServerFiles() {
    make_image(folder.path() + "/image");
    options.state_dir = folder.path() + "/state";
    options.first_uid = 220'000;
    options.max_sandboxes = 8;
    spec = {.name = "probe", .rootfs = folder.path() + "/image", .agent_path = probe_path()};
  }
  [[nodiscard]] bool all_gone() const { return processes_with_uid(220'000, 220'007).empty(); }
};

TEST_CASE("a killed server leaves nothing behind after two seconds, and its successor may start at once") {
  if (!is_root("killed server")) return;
  const ServerFiles files;
  Server server = start_server(files.options, files.spec);
  CHECK_FALSE(files.all_gone());
  kill_server(server);
  // Only this end of it is ours to see: the launcher is now a child of init.
  CHECK(eventually([&] { return files.all_gone() && cgroup_folders(files.options).empty(); }, 2000));
  server = start_server(files.options, files.spec);
  kill_server(server);
  server = start_server(files.options, files.spec);
  kill_server(server);
  CHECK(eventually([&] { return files.all_gone() && cgroup_folders(files.options).empty(); }, 2000));
}

TEST_CASE("when server and launcher are killed the sandboxes die, and the next start removes their cgroups") {
  if (!is_root("killed launcher")) return;
  const ServerFiles files;
  const Server server = start_server(files.options, files.spec);
  ::kill(server.launcher_pid, SIGKILL);
  kill_server(server);
  CHECK(eventually([&] { return files.all_gone(); }, 2000));
  CHECK_FALSE(cgroup_folders(files.options).empty());
  Result<LauncherProcess> next = Launcher::start_process(files.options);
  REQUIRE_MESSAGE(next, next.error().message);
  for (const std::string& folder : cgroup_folders(files.options)) {
    for (const std::string& name : sys::list_directory(folder).value_or(std::vector<std::string>())) {
      CHECK_FALSE(std::filesystem::is_directory(folder + "/" + name));
    }
  }
  next->process.socket.reset();
  CHECK(::waitpid(next->process.pid, nullptr, 0) == next->process.pid);
  CHECK(cgroup_folders(files.options).empty());
}

static Task<> lose_the_launcher(Sandboxes& sandboxes) {
  const Probe probe = co_await start_probe(sandboxes, sandboxes.spec());
  CHECK(probe.ask("daemons") == "started");
  // Stopped, it answers nothing, so that the call is pending when it dies.
  ::kill(sandboxes.launcher_pid(), SIGSTOP);
  reactor::Scope scope(sandboxes.reactor());
  Result<Usage> pending = Usage();
  const auto ask = [](Launcher& launcher, SandboxId id, Result<Usage>& result) -> Task<> {
    result = co_await launcher.usage(id);
  };
  scope.spawn(ask(sandboxes.launcher(), probe.id, pending));
  ::kill(sandboxes.launcher_pid(), SIGKILL);
  co_await scope.join();
  REQUIRE_FALSE(pending);
  CHECK(pending.error().code == Code::engine_failed);
  CHECK(sandboxes.lost);
  CHECK_FALSE(sandboxes.launcher().alive());
  CHECK((co_await sandboxes.launcher().destroy(probe.id)).error().code == Code::engine_failed);
  CHECK(eventually([] { return processes_with_uid(kFirstUid, kFirstUid + 63).empty(); }, 2000));
}

TEST_CASE("calls fail when the launcher dies, and its sandboxes die with it") {
  if (!is_root("lost launcher")) return;
  Sandboxes sandboxes;
  sandboxes.run(lose_the_launcher(sandboxes));
  sandboxes.stop();
  Result<LauncherProcess> next = Launcher::start_process(sandboxes.options());
  REQUIRE_MESSAGE(next, next.error().message);
  next->process.socket.reset();
  CHECK(::waitpid(next->process.pid, nullptr, 0) == next->process.pid);
  CHECK(cgroup_folders(sandboxes.options()).empty());
}

TEST_CASE("a state directory has one server, and the second is told which") {
  Sandboxes sandboxes;
  const Result<LauncherProcess> second = Launcher::start_process(sandboxes.options());
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Code::unavailable);
  const std::string owner = "process " + std::to_string(::getpid());
  CHECK_MESSAGE(second.error().message.find(owner) != std::string::npos, second.error().message);
  LauncherOptions other = sandboxes.options();
  other.state_dir += "-other";
  Result<LauncherProcess> beside = Launcher::start_process(other);
  REQUIRE_MESSAGE(beside, beside.error().message);
  beside->process.socket.reset();
  CHECK(::waitpid(beside->process.pid, nullptr, 0) == beside->process.pid);
}

TEST_CASE("a missing bubblewrap is said with the remedy") {
  const TemporaryFolder folder;
  const Result<LauncherProcess> process = Launcher::start_process(
      {.state_dir = folder.path() + "/state", .bwrap_path = "/usr/bin/no-such-bwrap"});
  REQUIRE_FALSE(process);
  CHECK(process.error().code == Code::unavailable);
  CHECK(process.error().message.find("apt install bubblewrap") != std::string::npos);
}

static Task<> fill_all_places(Sandboxes& sandboxes) {
  const Result<uint32_t> kind = co_await sandboxes.launcher().define(sandboxes.spec());
  REQUIRE(kind);
  std::vector<SandboxId> ids;
  std::vector<Fd> kept;
  while (true) {
    auto sockets = sys::socketpair(SOCK_SEQPACKET);
    REQUIRE(sockets);
    kept.push_back(std::move(sockets->first));
    const Result<SandboxId> id = co_await sandboxes.launcher().launch(*kind, std::move(sockets->second));
    if (!id) {
      CHECK(id.error().code == Code::resource_exhausted);
      break;
    }
    ids.push_back(*id);
  }
  CHECK(ids.size() == sandboxes.options().max_sandboxes);
  for (const SandboxId id : ids) CHECK(co_await sandboxes.launcher().destroy(id));
  const Probe after = co_await start_probe(sandboxes, sandboxes.spec());
  CHECK(after.ask("say x") == "said");
  CHECK(co_await sandboxes.launcher().destroy(after.id));
}

TEST_CASE("there are no more sandboxes than configured, and their places come back") {
  Sandboxes sandboxes;
  sandboxes.run(fill_all_places(sandboxes));
}

}  // namespace lambdo::namespaces
