#include "cli/command_line_image.h"

#include <map>
#include <string>
#include <vector>

#include "cli/usage.h"

namespace lambdo::cli {

namespace {

constexpr const char* kImageExamples =
    R"(An IMAGE is a registry's (python:3.12-slim, ghcr.io/a/b@sha256:...), oci:FOLDER[:TAG] or docker-archive:FILE[:NAME].
The store is the one of --config, else /var/lib/lambdo/images; --store names another.

Examples:
  lambdo image pull python:3.12-slim
  lambdo image pull --all --config lambdo.yaml
  lambdo image import oci:build/images/python --name my/python:1
  lambdo image ls
  lambdo image export python:3.12-slim docker-archive:python.tar

Exit codes: 0 ok, 1 failure, 2 wrong usage, 130 interrupted.)";

constexpr const char* kPullExamples =
    R"(What the store has is not fetched again. Ctrl-C leaves nothing half-made.

Examples:
  lambdo image pull python:3.12-slim node:22-slim
  lambdo image pull --platform linux/arm64 --no-unpack debian:12
  lambdo image pull --plain-http localhost:5000 localhost:5000/team/tool:1
  lambdo image pull --all --config lambdo.yaml         all that the languages name)";

constexpr const char* kImportExamples = R"(Examples:
  lambdo image import oci:build/images/python
  lambdo image import oci:layouts:1.2 --name team/tool:1.2
  lambdo image import docker-archive:saved.tar --json | jq -r .digest)";

constexpr const char* kListExamples = R"(Examples:
  lambdo image ls
  lambdo image ls --json | jq -r '.images[].name')";

constexpr const char* kInspectExamples = R"(The image by its name, or by its digest or the beginning of it.

Examples:
  lambdo image inspect python:3.12-slim
  lambdo image inspect --json 4f4fb700ef54 | jq .config.env)";

constexpr const char* kRemoveExamples =
    R"(Takes the name away; what no name leads to any more goes with the next prune.

Examples:
  lambdo image rm python:3.11-slim && lambdo image prune)";

constexpr const char* kPruneExamples =
    R"(Removes what no name leads to. What a running server or pull uses stays.

Examples:
  lambdo image prune --config lambdo.yaml)";

constexpr const char* kExportExamples =
    R"(A DESTINATION is oci:FOLDER[:TAG], docker-archive:FILE[:NAME] or initramfs:FILE (a newc archive of the root file system).

Examples:
  lambdo image export python:3.12-slim oci:layouts:3.12
  lambdo image export python:3.12-slim docker-archive:python.tar:python:3.12-slim
  lambdo image export python:3.12-slim initramfs:python.img --compression zstd)";

constexpr const char* kInitramfsExamples =
    R"(Fetches an image and writes it as an initramfs, with /init, /agent and /config.yaml from these files in it: what the
original Lambdo boots. Without --store the image is kept for as long as this takes only.

Examples:
  lambdo initramfs --image alpine:3.20                 writes initramfs-alpine-3.20.img
  lambdo initramfs -i library/python:3.12 --init build/init --agent build/agent -o python.img
  lambdo initramfs -i tool:1 -r http://localhost:5000/v2 --compression zstd)";

const std::map<std::string, image::ArchiveCompression> kCompressions = {
    {"none", image::ArchiveCompression::none},
    {"gzip", image::ArchiveCompression::gzip},
    {"lz4", image::ArchiveCompression::lz4},
    {"zstd", image::ArchiveCompression::zstd}};

void add_settings(CLI::App& app, ImageSettings& settings, bool is_of_registries) {
  app.add_option("-c,--config", settings.config_path, "Configuration with the store and the registries")
      ->type_name("FILE");
  app.add_option("--store", settings.store, "Folder of the store, instead of the configuration's")
      ->type_name("DIR");
  app.add_flag("--json", settings.json, "Print the outcome as JSON");
  if (!is_of_registries) return;
  app.add_option("--platform", settings.platform, "Which variant of an image: linux/amd64, linux/arm64, ...")
      ->type_name("OS/ARCH");
  app.add_option("--plain-http", settings.plain_http_hosts,
                 "Speak HTTP without TLS with this registry (repeatable)")
      ->type_name("HOST")
      ->allow_extra_args(false);
  app.add_option("--ca-file", settings.ca_file, "Certificates to trust beside the system's (PEM)")
      ->type_name("FILE");
  app.add_flag("-q,--quiet", settings.quiet, "No progress");
}

/// `verb` is set when the command is found.
CLI::App* add_verb(CLI::App& image, ImageOptions& options, ImageVerb verb, const char* name,
                   const char* description, const char* examples, bool is_of_registries = false) {
  CLI::App* app = image.add_subcommand(name, description);
  add_settings(*app, options.settings, is_of_registries);
  app->footer(examples);
  app->parse_complete_callback([&options, verb] { options.verb = verb; });
  return app;
}

/// The one image of a command that takes no more.
void add_one(CLI::App& app, ImageOptions& options, const char* name, const char* description) {
  app.add_option_function<std::string>(
         name, [&options](const std::string& text) { options.images = {text}; }, description)
      ->required();
}

void add_no_unpack(CLI::App& app, ImageOptions& options) {
  app.add_flag_callback(
      "--no-unpack", [&options] { options.unpack = false; },
      "Only fetch: a server with the namespace engine would unpack it");
}

void add_compression(CLI::App& app, image::ArchiveCompression& compression, const std::string& standard) {
  std::vector<std::string> names;
  for (const auto& [name, value] : kCompressions) names.push_back(name);
  app.add_option_function<std::string>(
         "--compression", [&compression](const std::string& name) { compression = kCompressions.at(name); },
         "Of an initramfs: none, gzip, lz4 or zstd")
      ->type_name("KIND")
      ->check(one_of(names))
      ->default_str(standard);
}

void add_pull(CLI::App& image, ImageOptions& options) {
  CLI::App* pull =
      add_verb(image, options, ImageVerb::pull, "pull", "Fetch images from registries", kPullExamples, true);
  CLI::Option* images = pull->add_option("IMAGE", options.images, "References of images");
  pull->add_flag("--all", options.all, "Those of the configuration's languages")
      ->needs(pull->get_option("--config"))
      ->excludes(images);
  add_no_unpack(*pull, options);
}

}  // namespace

void add_image(CLI::App& app, ParsedImage& parsed) {
  ImageOptions& options = parsed.image;
  CLI::App* image = app.add_subcommand("image", "Fetch, list and remove the images that guests run from");
  parsed.image_app = image;
  image->require_subcommand(1);
  image->footer(kImageExamples);
  add_pull(*image, options);

  CLI::App* import = add_verb(*image, options, ImageVerb::import, "import",
                              "Take an image from an OCI layout or a docker archive", kImportExamples, true);
  add_one(*import, options, "SOURCE", "oci:FOLDER[:TAG] or docker-archive:FILE[:NAME]");
  import->add_option("--name", options.name, "The name it gets: a reference")->type_name("REF");
  add_no_unpack(*import, options);

  add_verb(*image, options, ImageVerb::list, "ls", "List the images of the store", kListExamples);

  CLI::App* inspect = add_verb(*image, options, ImageVerb::inspect, "inspect",
                               "Show what the store knows of an image", kInspectExamples);
  add_one(*inspect, options, "IMAGE", "Name or digest");

  CLI::App* remove =
      add_verb(*image, options, ImageVerb::remove, "rm", "Remove names from the store", kRemoveExamples);
  remove->add_option("IMAGE", options.images, "Names")->required();

  add_verb(*image, options, ImageVerb::prune, "prune", "Free the space of what is not needed",
           kPruneExamples);

  CLI::App* exporting = add_verb(*image, options, ImageVerb::export_image, "export",
                                 "Write an image of the store elsewhere", kExportExamples);
  add_one(*exporting, options, "IMAGE", "Name or digest");
  exporting
      ->add_option("DESTINATION", options.destination,
                   "oci:FOLDER[:TAG], docker-archive:FILE[:NAME] or initramfs:FILE")
      ->required();
  add_compression(*exporting, options.compression, "none");
}

void add_initramfs(CLI::App& app, ParsedImage& parsed) {
  InitramfsOptions& options = parsed.initramfs;
  CLI::App* initramfs = app.add_subcommand("initramfs", "Write an image as an initramfs with an init in it");
  parsed.initramfs_app = initramfs;
  initramfs->add_option("-i,--image", options.image, "The image")->type_name("IMAGE")->required();
  initramfs->add_option("--init", options.init, "Becomes /init")->type_name("FILE")->capture_default_str();
  initramfs->add_option("--agent", options.agent, "Becomes /agent")->type_name("FILE")->capture_default_str();
  initramfs->add_option("--agent-config", options.agent_config, "Becomes /config.yaml")
      ->type_name("FILE")
      ->capture_default_str();
  initramfs
      ->add_option("-a,--auth-url", options.auth_url,
                   "Where tokens come from, instead of what the registry says")
      ->type_name("URL");
  initramfs
      ->add_option("-r,--registry-url", options.registry_url,
                   "The registry's API, instead of its usual place")
      ->type_name("URL");
  initramfs->add_option("-o,--output", options.output, "Instead of initramfs-NAME-TAG.img")
      ->type_name("FILE");
  add_compression(*initramfs, options.compression, "gzip");
  add_settings(*initramfs, options.settings, true);
  initramfs->footer(kInitramfsExamples);
}

}  // namespace lambdo::cli
