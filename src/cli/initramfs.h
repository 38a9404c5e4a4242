#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "cli/image/settings.h"
#include "image/writers/initramfs.h"

namespace lambdo::cli {

/// `lambdo initramfs`: the tool of the original Lambdo.
struct InitramfsOptions {
  ImageSettings settings;
  std::string image;
  std::string init = "./init";
  std::string agent = "./agent";
  std::string agent_config = "./config.yaml";
  std::string auth_url;
  std::string registry_url;
  std::string output;  ///< empty: initramfs-NAME-TAG.img
  image::ArchiveCompression compression = image::ArchiveCompression::gzip;
};

/// Declares the verb, which writes into `options` when it is parsed. `options` outlives the parsing.
CLI::App* add_initramfs(CLI::App& app, InitramfsOptions& options);

/// Gives the process's exit code.
int initramfs(const InitramfsOptions& options);

}  // namespace lambdo::cli
