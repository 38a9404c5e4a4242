#include <string>
#include <vector>

#include "cli/command_line.h"

#include "test.h"

// `lambdo image` and `lambdo initramfs`.
namespace lambdo::cli {

static Command parse(const std::vector<std::string>& arguments) {
  return parse_command_line(arguments, "1.2.3");
}

static ImageOptions image(const std::vector<std::string>& arguments) {
  return std::get<ImageOptions>(parse(arguments));
}

TEST_CASE("image pull takes references and says where from and to") {
  const ImageOptions options =
      image({"image", "pull", "a:1", "b:2", "--store", "/s", "--platform", "linux/arm64", "--plain-http",
             "h:1", "--plain-http", "i:2", "--ca-file", "ca.pem", "--json", "--no-unpack", "-q"});
  CHECK(options.verb == &kImagePull);
  CHECK(options.images == std::vector<std::string>{"a:1", "b:2"});
  CHECK_EQ(options.settings.store, "/s");
  CHECK_EQ(options.settings.platform, "linux/arm64");
  CHECK(options.settings.plain_http_hosts == std::vector<std::string>{"h:1", "i:2"});
  CHECK_EQ(options.settings.ca_file, "ca.pem");
  CHECK(options.settings.json);
  CHECK(options.settings.quiet);
  CHECK_FALSE(options.unpack);
  const ImageOptions all = image({"image", "pull", "--all", "--config", "c"});
  CHECK(all.all);
  CHECK(all.unpack);
  CHECK_EQ(all.settings.config_path, "c");
}

TEST_CASE("the other verbs of image") {
  CHECK(image({"image", "ls"}).verb == &kImageLs);
  CHECK(image({"image", "prune", "--json"}).verb == &kImagePrune);
  const ImageOptions imported = image({"image", "import", "oci:x", "--name", "a/b:1"});
  CHECK(imported.verb == &kImageImport);
  CHECK_EQ(imported.images.front(), "oci:x");
  CHECK_EQ(imported.name, "a/b:1");
  CHECK_EQ(image({"image", "inspect", "a"}).images.front(), "a");
  CHECK_EQ(image({"image", "rm", "a", "b"}).images.size(), 2);
  const ImageOptions exported = image({"image", "export", "a", "initramfs:f", "--compression", "zstd"});
  CHECK_EQ(exported.images.front(), "a");
  CHECK_EQ(exported.destination, "initramfs:f");
  CHECK(exported.compression == image::ArchiveCompression::zstd);
}

TEST_CASE("initramfs has the original tool's flags and defaults") {
  const auto defaults = std::get<InitramfsOptions>(parse({"initramfs", "--image", "alpine:3.20"}));
  CHECK_EQ(defaults.image, "alpine:3.20");
  CHECK_EQ(defaults.init, "./init");
  CHECK_EQ(defaults.agent, "./agent");
  CHECK_EQ(defaults.agent_config, "./config.yaml");
  CHECK(defaults.compression == image::ArchiveCompression::gzip);
  CHECK(defaults.output.empty());
  const auto options =
      std::get<InitramfsOptions>(parse({"initramfs", "-i", "a", "--init", "i", "--agent", "g",
                                        "--agent-config", "c", "-a", "https://auth.example/token", "-r",
                                        "https://registry.example/v2", "-o", "out", "--compression", "lz4"}));
  CHECK_EQ(options.init, "i");
  CHECK_EQ(options.agent, "g");
  CHECK_EQ(options.agent_config, "c");
  CHECK_EQ(options.auth_url, "https://auth.example/token");
  CHECK_EQ(options.registry_url, "https://registry.example/v2");
  CHECK_EQ(options.output, "out");
  CHECK(options.compression == image::ArchiveCompression::lz4);
}

TEST_CASE("wrong usage of image is status 2 with a reason") {
  const std::vector<std::vector<std::string>> wrong = {
      {"image"},
      {"image", "pull"},
      {"image", "pull", "--all"},
      {"image", "pull", "a", "--all", "--config", "c"},
      {"image", "import"},
      {"image", "inspect"},
      {"image", "export", "a"},
      {"image", "export", "a", "oci:b", "--compression", "rar"},
      {"image", "nonsense"},
      {"initramfs"},
  };
  for (const auto& arguments : wrong) {
    CAPTURE(arguments);
    const auto told = std::get<PrintAndExit>(parse(arguments));
    CHECK_EQ(told.exit_code, kExitUsage);
    CHECK_MESSAGE(told.error.starts_with("lambdo " + arguments.front()), told.error);
    CHECK_MESSAGE(told.error.ends_with(" --help says how it is used\n"), told.error);
  }
}

}  // namespace lambdo::cli
