#include "cli/doctor.h"
#include "cli/usage.h"

namespace lambdo::cli {

static constexpr const char* kDoctorExamples =
    R"(Exits with 0 where an engine is usable, or the configuration can be served; else with 1.

Examples:
  lambdo doctor
  lambdo doctor --config lambdo.yaml          its engine, guest kernel and network too
  lambdo doctor --json | jq .engine)";

CLI::App* add_doctor(CLI::App& app, DoctorOptions& options) {
  CLI::App* doctor =
      app.add_subcommand("doctor", "Say what this machine can carry, with a remedy for what it cannot");
  doctor
      ->add_option("-c,--config", options.config_path,
                   "Configuration file: whether this machine can serve it")
      ->type_name("FILE");
  doctor->add_flag("--json", options.json, "Print it as JSON");
  doctor->footer(kDoctorExamples);
  return doctor;
}

}  // namespace lambdo::cli
