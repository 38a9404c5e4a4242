#include "agent/configurator.h"

#include <sys/fsuid.h>
#include <unistd.h>

#include <climits>

#include "agent/guest_setup.h"
#include "agent/network.h"

namespace lambdo::agent {

/// The agent's server process writes files as the steps' user; these are root's.
class AsRoot {
 public:
  AsRoot() : gid_(static_cast<gid_t>(::setfsgid(0))), uid_(static_cast<uid_t>(::setfsuid(0))) {}
  AsRoot(const AsRoot&) = delete;
  AsRoot& operator=(const AsRoot&) = delete;
  ~AsRoot() {
    ::setfsgid(gid_);
    ::setfsuid(uid_);
  }

 private:
  gid_t gid_;
  uid_t uid_;
};

static Result<std::string> machine_name() {
  char name[HOST_NAME_MAX + 1] = "";
  if (::gethostname(name, sizeof name) < 0) return fail_errno("gethostname");
  return std::string(name);
}

Result<> Configurator::carry_out(MachinePlan plan) {
  const AsRoot root;
  if (!plan.hostname.empty()) TRY(name_machine(plan.hostname));
  if (plan.interface) {
    TRY(configure_interface(*plan.interface));
    interface_ = *std::move(plan.interface);
  }
  const std::string hostname = TRY(machine_name());
  return write_name_files(folders_, hostname, interface_ ? &*interface_ : nullptr);
}

Result<> Configurator::apply(const grpc_definitions::ConfigureRequest& request) {
  return carry_out(TRY(make_machine_plan(request)));
}

}  // namespace lambdo::agent
