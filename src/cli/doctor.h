#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace lambdo::cli {

/// `lambdo doctor`: exits with 0 where an engine is usable here, or the configuration can be served.
struct DoctorOptions {
  std::string config_path;  ///< whose engine, guest kernel and network to look at; may be empty
  bool json = false;
};

/// Declares the verb, which writes into `options` when it is parsed. `options` outlives the parsing.
CLI::App* add_doctor(CLI::App& app, DoctorOptions& options);

/// Examines the machine; gives the process's exit code. Of lambdo-server only.
int doctor(const DoctorOptions& options);

}  // namespace lambdo::cli
