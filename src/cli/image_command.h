#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/writers/initramfs.h"

/// What `lambdo image ...` and `lambdo initramfs` are asked to do.
namespace lambdo::cli {

/// Of all commands that work on images. What is set goes before the configuration.
struct ImageSettings {
  std::string config_path;  ///< may be empty: the defaults
  std::string store;        ///< folder; empty: the configuration's
  std::string platform;     ///< "linux/arm64"; empty: the configuration's, else this machine's
  std::vector<std::string> plain_http_hosts;
  std::string ca_file;
  bool json = false;
  bool quiet = false;  ///< no progress
};

enum class ImageVerb { pull, import, list, inspect, remove, prune, export_image };

/// `lambdo image VERB`.
struct ImageOptions {
  ImageVerb verb = ImageVerb::list;
  ImageSettings settings;
  std::vector<std::string> images;  ///< references; of import the one source
  bool all = false;                 ///< pull: those of the configuration's languages
  bool unpack = true;               ///< pull and import: for the namespace engine
  std::string name;                 ///< import: under which name; empty: the source's own
  std::string destination;          ///< export
  image::ArchiveCompression compression = image::ArchiveCompression::none;  ///< export to initramfs:FILE
};
int image_command(const ImageOptions& options);

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
int initramfs_command(const InitramfsOptions& options);

}  // namespace lambdo::cli
