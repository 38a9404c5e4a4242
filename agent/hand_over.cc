#include "agent/hand_over.h"

#include <sys/mount.h>
#include <unistd.h>

#include "agent/agent_server.h"
#include "agent/guest_setup.h"
#include "agent/ip_parameter.h"
#include "agent/network.h"
#include "base/sockets.h"
#include "base/syscalls.h"

namespace lambdo::agent {

static Result<> configure_as_told(const Options& options) {
  std::string value = options.ip;
  if (value.empty()) {
    const std::string command_line = TRY(sys::read_file("/proc/cmdline"));
    value = find_ip_parameter(command_line).value_or("");
  }
  if (value.empty()) return {};
  return configure_interface(TRY(parse_ip_parameter(value)));
}

/// /proc, which is not mounted yet, has the command line and the settings of IPv6.
static Result<> set_up_network(const Options& options) {
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0) {
    return fail_errno("mount proc on /proc");
  }
  const Result<> configured = configure_as_told(options);
  if (::umount2("/proc", MNT_DETACH) < 0) return fail_errno("umount /proc");
  return configured;
}

Result<> hand_over(const std::string& folder, const Options& options) {
  TRY(prepare_descriptors("/dev/console"));
  TRY(check_complete(folder));
  TRY(load_modules(folder));
  TRY(sys::raise_loopback());
  TRY(set_up_network(options));
  TRY(remove_folder(folder));
  std::string program = options.hand_over;
  char* const arguments[] = {program.data(), nullptr};
  ::execv(program.c_str(), arguments);
  return fail_errno("exec " + program);
}

}  // namespace lambdo::agent
