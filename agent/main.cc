#include <fcntl.h>
#include <linux/close_range.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdio>

#include "agent/event_loop.h"
#include "agent/executor.h"
#include "agent/input.h"
#include "agent/options.h"
#include "agent/rpc_server.h"
#include "agent/service.h"
#include "agent/supervisor.h"
#include "agent/workspace.h"
#include "base/syscalls.h"

namespace lambdo::agent {

static constexpr int kExitUsage = 2;

static Result<> check_connection(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) < 0) return fail_errno("--fd " + std::to_string(fd));
  if (!S_ISSOCK(status.st_mode))
    return fail(Code::invalid_argument, "--fd " + std::to_string(fd) + " is no socket");
  return {};
}

static Result<> prepare_descriptors() {
  // Low numbers are the steps' standard streams: none of ours may sit there.
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) < 0) return fail_errno("open /dev/null");
  }
  // Nothing that we were given by chance may reach a step.
  ::close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
  return {};
}

/// Guest code has our user: it may not trace us or read our memory.
static void forbid_tracing() {
  ::prctl(PR_SET_DUMPABLE, 0);
}

[[noreturn]] static void run_executor(Fd control, Fd input, Scope scope) {
  // The steps inherit it: short of memory, the kernel shall kill one of them and not the front, which is
  // larger than many a process of a bomb. Where /proc is missing or read-only it may choose as it likes.
  // Before forbid_tracing(), which takes the file away from us.
  (void)sys::write_file("/proc/self/oom_score_adj", "1000");
  forbid_tracing();
  ::prctl(PR_SET_NAME, "lambdo-executor");
  auto executor = Executor::create(std::move(control), std::move(input), scope);
  if (!executor) {
    std::fprintf(stderr, "lambdo-agent: executor: %s\n", executor.error().message.c_str());
    ::_exit(1);
  }
  executor->serve();
  ::_exit(0);
}

static Result<> run_front(const Workspace& workspace, Fd connection, Fd control, pid_t executor, Fd input,
                          Scope scope) {
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &child_signal, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  // No growing threshold: a large request's memory gets back to the guest.
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
  EventLoop loop = TRY(EventLoop::create());
  auto supervisor = TRY(Supervisor::create(loop, std::move(control), executor, scope));
  Service service(ServiceParts{workspace, *supervisor, input.get()});
  auto server = TRY(RpcServer::create(loop, std::move(connection), service, [&] {
    supervisor->shut_down();
    ::_exit(0);
  }));
  while (true) loop.turn();
}

static Result<> run(const Options& options) {
  TRY(prepare_descriptors());
  TRY(check_connection(options.fd));
  Fd connection(options.fd);
  const Workspace workspace = TRY(Workspace::open(options.workspace));
  TRY(workspace.enter());
  Fd input = TRY(create_input());
  auto [front_end, executor_end] = TRY(sys::socketpair(SOCK_STREAM));
  const Scope scope = ::getpid() == 1 ? Scope::own_namespace : Scope::descendants;
  const pid_t executor = ::fork();
  if (executor < 0) return fail_errno("fork");
  if (executor == 0) {
    connection.reset();
    front_end.reset();
    run_executor(std::move(executor_end), std::move(input), scope);
  }
  forbid_tracing();
  executor_end.reset();
  return run_front(workspace, std::move(connection), std::move(front_end), executor, std::move(input), scope);
}

}  // namespace lambdo::agent

int main(int argc, char** argv) {
  using namespace lambdo::agent;
  const auto options = parse_options({argv + 1, static_cast<size_t>(argc > 0 ? argc - 1 : 0)});
  if (!options) {
    std::fprintf(stderr, "lambdo-agent: %s\n", options.error().message.c_str());
    return kExitUsage;
  }
  if (options->help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  const auto result = run(*options);
  std::fprintf(stderr, "lambdo-agent: %s\n", result.error().message.c_str());
  return 1;
}
