#include "cli/registry_credentials.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/syscalls.h"

#include "test.h"

namespace lambdo::cli {

namespace {

/// Docker's configuration with a helper that gives each host its own secret, in a folder that goes with it.
class DockerFolder {
 public:
  explicit DockerFolder(const std::string& script) {
    char name[] = "/tmp/lambdo-credentials-XXXXXX";
    path_ = ::mkdtemp(name);
    const std::string helper = path_ + "/docker-credential-test";
    std::ofstream(helper) << "#!/bin/sh\n" << script;
    std::filesystem::permissions(helper, std::filesystem::perms::owner_all);
    std::ofstream(path_ + "/config.json") << R"({"credsStore":"test"})";
    old_path_ = std::getenv("PATH");
    ::setenv("PATH", (path_ + ":/usr/bin:/bin").c_str(), 1);
  }
  DockerFolder(const DockerFolder&) = delete;
  DockerFolder& operator=(const DockerFolder&) = delete;
  ~DockerFolder() {
    ::setenv("PATH", old_path_.c_str(), 1);
    std::filesystem::remove_all(path_);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::string old_path_;
};

Config config_with(const std::string& folder, const std::vector<std::string>& images) {
  Config config;
  config.registries.credentials = folder;
  for (const std::string& image : images) {
    engine::Language language;
    language.image = image;
    config.languages.push_back(std::move(language));
  }
  return config;
}

}  // namespace

TEST_CASE("every host that may be asked has its own credential: registries and their mirrors") {
  const DockerFolder docker(R"(read -r key; printf '{"Username":"u","Secret":"of %s"}' "$key")");
  Config config =
      config_with(docker.path(), {"r.example/a:1", "r.example/b:1", "python:3", "oci:/nowhere", ""});
  config.registries.hosts["r.example"].mirrors = {"https://one.example", "http://two.example:5000/prefix"};
  config.registries.hosts["unused.example"].mirrors = {"https://nobody.example"};
  const CredentialsByHost found = find_credentials(config);
  REQUIRE(found.size() == 4);
  CHECK(found.at("r.example").password == "of r.example");
  CHECK(found.at("one.example").password == "of one.example");
  CHECK(found.at("two.example:5000").password == "of two.example:5000");
  CHECK(found.at("docker.io").password == "of https://index.docker.io/v1/");
  config.images.pull = Config::Pull::never;
  CHECK(find_credentials(config).empty());
}

TEST_CASE("helpers that hang hold a start up only so long, all of them together") {
  const DockerFolder docker("exec sleep 1000");
  const Config config =
      config_with(docker.path(), {"a.example/a", "b.example/a", "c.example/a", "d.example/a"});
  const long long start_ns = sys::monotonic_ns();
  const CredentialsByHost found = find_credentials(config, 300);
  CHECK(sys::monotonic_ns() - start_ns < 3'000'000'000);
  CHECK(found.size() == 4);
  for (const auto& [host, credential] : found) CHECK(credential.anonymous());
}

}  // namespace lambdo::cli
