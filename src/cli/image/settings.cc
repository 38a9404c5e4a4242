#include "cli/image/settings.h"

#include <map>

#include "cli/usage.h"

namespace lambdo::cli {

static const std::map<std::string, image::ArchiveCompression> kCompressions = {
    {"none", image::ArchiveCompression::none},
    {"gzip", image::ArchiveCompression::gzip},
    {"lz4", image::ArchiveCompression::lz4},
    {"zstd", image::ArchiveCompression::zstd}};

void add_image_settings(CLI::App& app, ImageSettings& settings, bool is_of_registries) {
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

}  // namespace lambdo::cli
