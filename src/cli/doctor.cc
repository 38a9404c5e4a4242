#include "doctor/doctor.h"

#include <cstdio>
#include <optional>
#include <utility>

#include "cli/command_error.h"
#include "cli/doctor.h"
#include "cli/exit_codes.h"
#include "config/config.h"

namespace lambdo::cli {

int doctor(const DoctorOptions& options) {
  std::optional<config::Config> config;
  if (!options.config_path.empty()) {
    auto loaded = config::load_config(options.config_path);
    if (!loaded) {
      print_error("doctor", loaded.error().message);
      return kExitFailure;
    }
    config = std::move(*loaded);
  }
  const doctor::Examination examination = doctor::examine_machine(config ? &*config : nullptr);
  std::fputs((options.json ? doctor::format_json(examination) : doctor::format_text(examination)).c_str(),
             stdout);
  const bool usable =
      !doctor::usable_engine(examination).empty() && examination.agent_found && examination.network_usable;
  return usable ? kExitOk : kExitFailure;
}

}  // namespace lambdo::cli
