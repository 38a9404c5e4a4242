#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lambdo::cli {

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

/// Declares the verb, which writes into `options` when it is parsed. `options` outlives the parsing.
CLI::App* add_run(CLI::App& app, RunOptions& options);

/// Both give the process's exit code, which is the program's. Where not `local`.
int run(const RunOptions& options);
/// Where `local`. Of lambdo-server only.
int run_local(const RunOptions& options);

}  // namespace lambdo::cli
