#include "agent/agent_server.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <malloc.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <optional>

#include "agent/executor.h"
#include "agent/input.h"
#include "base/syscalls.h"

namespace lambdo::agent {

static constexpr char kCgroupRoot[] = "/sys/fs/cgroup";
static constexpr long long kFarewellTimeoutNs = 1'000'000'000;

Result<> prepare_descriptors(const char* instead) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    // The lowest free number is the missing one.
    if (::fcntl(fd, F_GETFD) < 0 && ::open(instead, O_RDWR | O_NOCTTY) < 0) {
      return fail_errno(std::string("open ") + instead);
    }
  }
  // Nothing that we were given by chance may reach a step.
  ::close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
  return {};
}

/// Guest code that has our user may not trace us or read our memory.
static void forbid_tracing() {
  ::prctl(PR_SET_DUMPABLE, 0);
}

static Result<> run_executor(Fd control, Fd input, Scope scope, StepUser user) {
  // Short of memory, the kernel shall kill a step and not the server process, which is larger than many a
  // process of a fork bomb. In a machine of its own each step takes the score upon itself; elsewhere it
  // inherits it. Where /proc is missing or read-only the kernel may choose as it likes. Before
  // forbid_tracing(), which takes the file away from us.
  (void)sys::write_file("/proc/self/oom_score_adj", scope == Scope::machine ? "-1000" : "1000");
  forbid_tracing();
  ::prctl(PR_SET_NAME, "lambdo-executor");
  std::optional<StepCgroup> cgroup;
  if (scope == Scope::machine) cgroup = TRY(StepCgroup::create(kCgroupRoot));
  Executor executor =
      TRY(Executor::create(std::move(control), std::move(input), scope, user, std::move(cgroup)));
  return executor.serve();
}

static void set_up_process(Scope scope, StepUser user) {
  forbid_tracing();
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child_signal, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  // No growing threshold: a large request's memory gets back to the guest.
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
  if (scope != Scope::machine) return;
  // Files are written as the steps' user, who owns them then and whose rights are enough.
  ::setfsgid(user.gid);
  ::setfsuid(user.uid);
}

Result<std::unique_ptr<AgentServer>> AgentServer::create(const Plan& plan) {
  Workspace workspace = TRY(Workspace::open(plan.workspace));
  TRY(workspace.enter());
  Fd input = TRY(create_input());
  auto [server_end, executor_end] = TRY(sys::socketpair(SOCK_STREAM));
  const pid_t executor = ::fork();
  if (executor < 0) return fail_errno("fork");
  if (executor == 0) {
    if (plan.connection >= 0) ::close(plan.connection);
    server_end.reset();
    const Result<> served = run_executor(std::move(executor_end), std::move(input), plan.scope, plan.user);
    if (!served) std::fprintf(stderr, "lambdo-agent: executor: %s\n", served.error().message.c_str());
    ::_exit(served ? 0 : 1);
  }
  executor_end.reset();
  set_up_process(plan.scope, plan.user);
  std::unique_ptr<AgentServer> server(
      new AgentServer(std::move(workspace), std::move(input), TRY(EventLoop::create())));
  server->supervisor_ =
      TRY(RunSupervisor::create(server->loop_, std::move(server_end), executor, plan.scope));
  server->service_ = std::make_unique<Service>(ServiceParts{
      server->workspace_, *server->supervisor_, server->input_.get(), plan.scope == Scope::machine});
  return server;
}

void AgentServer::serve() {
  while (!service_->power_off_asked()) loop_.turn();
  // A machine's last packets may still be on their way when it is powered off. That the client closes the
  // connection tells that they have come.
  const long long end_ns = sys::monotonic_ns() + kFarewellTimeoutNs;
  for (long long left_ns = kFarewellTimeoutNs; left_ns > 0; left_ns = end_ns - sys::monotonic_ns()) {
    loop_.turn(static_cast<int>(left_ns / 1'000'000) + 1);
  }
}

}  // namespace lambdo::agent
