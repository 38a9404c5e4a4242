#pragma once

#include <CLI/CLI.hpp>

#include "cli/image_command.h"

/// The part of the command line that is about images.
namespace lambdo::cli {

/// What CLI11 writes while it parses; the options are whole once it has.
struct ParsedImage {
  ImageOptions image;
  InitramfsOptions initramfs;
  std::string compression;
  CLI::App* image_app = nullptr;
  CLI::App* initramfs_app = nullptr;
};

/// `parsed` outlives the parsing.
void add_image(CLI::App& app, ParsedImage& parsed);
void add_initramfs(CLI::App& app, ParsedImage& parsed);

}  // namespace lambdo::cli
