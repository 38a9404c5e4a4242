#include "agent/guest.h"

#include <sys/epoll.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "agent/agent_server.h"
#include "agent/guest_setup.h"
#include "agent/hand_over.h"
#include "agent/host_connection.h"
#include "agent/name_files.h"
#include "agent/options.h"
#include "agent/registration.h"
#include "base/sockets.h"
#include "base/syscalls.h"

namespace lambdo::agent {

[[noreturn]] static void power_off() {
  ::reboot(RB_POWER_OFF);
  // Not permitted. The kernel panics when its init ends, which the host sees too.
  ::_exit(1);
}

/// Accepts the host's connections, and serves one at a time. The host makes another where the first broke, as
/// all do when the machine is cloned.
class HostListener {
 public:
  HostListener(AgentServer& agent, Fd listener) : agent_(agent), listener_(std::move(listener)) {}
  HostListener(const HostListener&) = delete;
  HostListener& operator=(const HostListener&) = delete;
  ~HostListener() { agent_.loop().forget(listener_.get()); }

  Result<> start() {
    return agent_.loop().watch(listener_.get(), EPOLLIN, [this](uint32_t) { accept(); });
  }

 private:
  void accept() {
    Fd socket = accept_from_host(listener_.get());
    if (!socket.valid()) return;
    auto connection =
        HostConnection::create(agent_.loop(), std::move(socket), agent_.service(), [this] { on_closed(); });
    if (!connection) {
      std::fprintf(stderr, "lambdo-agent: connection: %s\n", connection.error().message.c_str());
      return;
    }
    connection_ = *std::move(connection);
  }

  void on_closed() {
    if (agent_.service().power_off_asked()) power_off();
    connection_.reset();
  }

  AgentServer& agent_;
  Fd listener_;
  std::unique_ptr<HostConnection> connection_;
};

/// As the namespace engine's guests have them.
static Result<> limit_descriptors() {
  const rlimit files{.rlim_cur = 1024, .rlim_max = 16384};
  if (::setrlimit(RLIMIT_NOFILE, &files) < 0) return fail_errno("RLIMIT_NOFILE");
  return {};
}

static Result<> set_up_machine(const std::string& folder, const Options& options) {
  TRY(mount_all(guest_mounts(options.workspace, options.disk_mb, options.user)));
  TRY(prepare_descriptors("/dev/console"));
  TRY(check_complete(folder));
  TRY(load_modules(folder));
  TRY(name_machine(options.hostname));
  TRY(sys::raise_loopback());
  TRY(limit_descriptors());
  TRY(set_environment(options.environment));
  prepare_name_files({});
  // It holds the token.
  TRY(remove_folder(folder));
  return make_root_read_only();
}

/// The host names the folder after the guest: /.lambdo-TOKEN.
static std::string token_of(const std::string& folder) {
  return folder.substr(folder.rfind('-') + 1);
}

static Result<> serve(const std::string& folder) {
  const std::string config = TRY(sys::read_file(folder + "/config"));
  const Options options = TRY(parse_options_file(config));
  if (!options.hand_over.empty()) return hand_over(folder, options);
  TRY(set_up_machine(folder, options));
  const auto agent = TRY(
      AgentServer::create({.workspace = options.workspace, .scope = Scope::machine, .user = options.user}));
  HostListener listener(*agent, TRY(listen_for_host(options.listen_at)));
  TRY(listener.start());
  const std::string token = options.token.empty() ? token_of(folder) : options.token;
  TRY(register_with_host(options.register_at, options.listen_at.port, token));
  agent->serve();
  power_off();
}

std::string guest_folder(const char* program) {
  if (::getpid() != 1 || program == nullptr) return {};
  const std::string path = program;
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return {};
  std::string folder = path.substr(0, slash);
  return sys::exists(folder + "/config") ? folder : std::string();
}

void run_guest(const std::string& folder) {
  // Where there is no console, nobody hears it.
  std::fputs("lambdo-agent: started\n", stderr);
  const Result<> served = serve(folder);
  std::fprintf(stderr, "lambdo-agent: %s\n", served.error().message.c_str());
  power_off();
}

}  // namespace lambdo::agent
