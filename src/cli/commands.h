#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"

/// What the command line asks for, one struct and one function a command. The functions give the process's
/// exit code.
namespace lambdo::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
/// What a shell gives for a program that ^C has ended.
inline constexpr int kExitInterrupted = 130;

/// `lambdo serve`, and `lambdo --config FILE`. What is set goes before the file.
struct ServeOptions {
  std::string config_path;
  std::optional<uint16_t> port;
  std::vector<std::string> languages;  ///< only these of the file's; empty: all
  std::optional<std::string> state_dir;
  std::optional<log::Level> log_level;
};
int serve(const ServeOptions& options);

/// `lambdo run`: one program, on a server or on this machine; exits with the program's own code.
struct RunOptions {
  std::string server = "http://127.0.0.1:3000";
  bool local = false;       ///< without a server, with the languages of `config_path`
  std::string config_path;  ///< not empty where local
  std::string language;
  std::string version;                    ///< empty: the first one configured
  std::vector<std::string> files;         ///< at least one; the first is the entry point
  std::vector<std::string> args;          ///< of the program
  std::optional<std::string> input_path;  ///< "-" for standard input
  bool json = false;                      ///< print the whole response
  std::optional<uint64_t>
      wall_ms;  ///< this and the others: limits, where they are to differ from the language's
  std::optional<uint64_t> cpu_ms;
  std::optional<uint64_t> memory_mb;
  std::optional<uint64_t> output_bytes;
  std::optional<uint64_t> processes;
};
/// Where not `local`.
int run(const RunOptions& options);
/// Where `local`.
int run_local(const RunOptions& options);

/// `lambdo doctor`: exits with 0 where an engine is usable here, or the configuration can be served.
struct DoctorOptions {
  std::string config_path;  ///< whose engine, guest kernel and network to look at; may be empty
  bool json = false;
};
int doctor(const DoctorOptions& options);

/// `lambdo config check FILE`: prints all problems; exits with 0 where none is an error.
struct ConfigCheckOptions {
  std::string path;
  bool agent = false;     ///< the file is an agent's
  bool language = false;  ///< the file is one language's definition
};
int config_check(const ConfigCheckOptions& options);

}  // namespace lambdo::cli
