#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "agent/agent_server.h"
#include "agent/guest.h"
#include "agent/host_connection.h"
#include "agent/options.h"

namespace lambdo::agent {

static constexpr int kExitUsage = 2;

static Result<> check_connection(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) < 0) return fail_errno("--fd " + std::to_string(fd));
  if (!S_ISSOCK(status.st_mode))
    return fail(Code::invalid_argument, "--fd " + std::to_string(fd) + " is no socket");
  return {};
}

[[noreturn]] static void end(AgentServer& agent) {
  agent.supervisor().shut_down();
  ::_exit(0);
}

/// Serves the one connection that we were started with, as long as it lives.
static Result<> run(const Options& options) {
  TRY(prepare_descriptors("/dev/null"));
  TRY(check_connection(options.fd));
  Fd connection(options.fd);
  const auto agent =
      TRY(AgentServer::create({.workspace = options.workspace,
                               .scope = ::getpid() == 1 ? Scope::own_namespace : Scope::descendants,
                               .connection = connection.get()}));
  const auto host = TRY(
      HostConnection::create(agent->loop(), std::move(connection), agent->service(), [&] { end(*agent); }));
  agent->serve();
  end(*agent);
}

}  // namespace lambdo::agent

int main(int argc, char** argv) {
  using namespace lambdo::agent;
  if (const std::string folder = guest_folder(argv[0]); !folder.empty()) run_guest(folder);
  const auto options = parse_options({argv + 1, static_cast<size_t>(argc > 0 ? argc - 1 : 0)});
  if (!options || (!options->help && options->fd < 0)) {
    std::fprintf(stderr, "lambdo-agent: %s\n",
                 options ? "--fd is missing; see --help" : options.error().message.c_str());
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
