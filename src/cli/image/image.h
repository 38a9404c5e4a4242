#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/image/session.h"
#include "cli/image/settings.h"
#include "config/config.h"
#include "image/image_services.h"
#include "image/writers/archive_sink.h"
#include "reactor/cancel.h"
#include "reactor/task.h"

/// `lambdo image VERB`. Each verb is an ImageVerb in a file of its own, with its options, its help and its
/// work.
namespace lambdo::cli {

struct ImageVerb;

/// What the command line says; a verb reads what its options wrote.
struct ImageOptions {
  const ImageVerb* verb = nullptr;
  ImageSettings settings;
  std::vector<std::string> images;  ///< references; of import the one source
  bool all = false;                 ///< pull: those of the configuration's languages
  bool unpack = true;               ///< pull and import: for the namespace engine
  std::string name;                 ///< import: under which name; empty: the source's own
  std::string destination;          ///< export
  image::ArchiveCompression compression = image::ArchiveCompression::none;  ///< export to initramfs:FILE
};

/// One command with all it works on; outlives its coroutines.
struct ImageCommandWork {
  const ImageCommand& command;
  const ImageOptions& options;
  const config::Config& config;
  image::ImageServices& services;
  reactor::CancelToken token;
};

struct ImageVerb {
  const char* name;         ///< as it is typed behind "lambdo image"
  const char* description;  ///< for help
  const char* footer;       ///< of its help: what is to be known, and examples
  bool uses_registries = false;
  /// Whether the verb may create the store; the others must not create one in a folder that was mistyped.
  bool makes_store = false;
  Leftovers leftovers = Leftovers::briefly;
  /// Declares the verb's own options, which write into `options` when they are parsed.
  void (*add_options)(CLI::App& verb, ImageOptions& options) = nullptr;
  /// What can be said of the options before a store is looked for; may be null.
  Result<> (*check)(const ImageOptions& options) = nullptr;
  /// Runs the verb. False: a part failed and was reported.
  reactor::Task<Result<bool>> (*run)(const ImageCommandWork& work);
};

// Each is defined in the .cc named after its verb.
extern const ImageVerb kImagePull;
extern const ImageVerb kImageImport;
extern const ImageVerb kImageLs;
extern const ImageVerb kImageInspect;
extern const ImageVerb kImageRm;
extern const ImageVerb kImagePrune;
extern const ImageVerb kImageExport;

/// Declares `image` with all its verbs, which write into `options` when they are parsed. `options` outlives
/// the parsing.
CLI::App* add_image(CLI::App& app, ImageOptions& options);

/// Runs the verb; gives the process's exit code.
int run_image(const ImageOptions& options);

/// Declares the one image of a verb that takes no more.
void add_one_image(CLI::App& verb, ImageOptions& options, const char* name, const char* description);
/// Declares --no-unpack.
void add_no_unpack(CLI::App& verb, ImageOptions& options);

}  // namespace lambdo::cli
