#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace lambdo::cli {

/// A page of Markdown about `root` and all its verbs: usage, options, examples.
std::string reference_page(const CLI::App& root);

}  // namespace lambdo::cli
