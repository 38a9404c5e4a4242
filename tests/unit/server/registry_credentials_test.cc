#include "server/registry_credentials.h"

#include <sys/eventfd.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "base/syscalls.h"

#include "test.h"

namespace lambdo::server {

namespace {

/// Docker's configuration with a helper that gives each host its own secret, in a folder that goes with it.
class DockerFolder {
 public:
  explicit DockerFolder(const std::string& script, const std::string& config = R"({"credsStore":"test"})") {
    char name[] = "/tmp/lambdo-credentials-XXXXXX";
    path_ = ::mkdtemp(name);
    add_helper("test", script);
    std::ofstream(path_ + "/config.json") << config;
    old_path_ = std::getenv("PATH");
    ::setenv("PATH", (path_ + ":/usr/bin:/bin").c_str(), 1);
  }
  DockerFolder(const DockerFolder&) = delete;
  DockerFolder& operator=(const DockerFolder&) = delete;
  ~DockerFolder() {
    ::setenv("PATH", old_path_.c_str(), 1);
    std::filesystem::remove_all(path_);
  }
  void add_helper(const std::string& name, const std::string& script) const {
    const std::string helper = path_ + "/docker-credential-" + name;
    std::ofstream(helper) << "#!/bin/sh\n" << script;
    std::filesystem::permissions(helper, std::filesystem::perms::owner_all);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::string old_path_;
};

config::Config config_with(const std::string& folder, const std::vector<std::string>& images) {
  config::Config config;
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
  config::Config config =
      config_with(docker.path(), {"r.example/a:1", "r.example/b:1", "python:3", "oci:/nowhere", ""});
  config.registries.hosts["r.example"].mirrors = {"https://one.example", "http://two.example:5000/prefix"};
  config.registries.hosts["unused.example"].mirrors = {"https://nobody.example"};
  const registry::CredentialsByHost found = find_credentials(config).value();
  REQUIRE(found.size() == 4);
  CHECK(found.at("r.example").password == "of r.example");
  CHECK(found.at("one.example").password == "of one.example");
  CHECK(found.at("two.example:5000").password == "of two.example:5000");
  CHECK(found.at("docker.io").password == "of https://index.docker.io/v1/");
  config.images.pull = config::Config::Pull::never;
  CHECK(find_credentials(config).value().empty());
}

TEST_CASE("helpers are asked for the hosts of the languages that are left, and for no other") {
  const DockerFolder docker(R"(read -r key; printf '{"Username":"u","Secret":"of %s"}' "$key")");
  config::Config config = config_with(docker.path(), {"a.example/a", "b.example/a"});
  config.languages = {config.languages[1]};
  const registry::CredentialsByHost found = find_credentials(config).value();
  REQUIRE(found.size() == 1);
  CHECK(found.contains("b.example"));
}

TEST_CASE("helpers that hang hold a start up only so long, all of them together") {
  const DockerFolder docker("exec sleep 1000");
  const config::Config config =
      config_with(docker.path(), {"a.example/a", "b.example/a", "c.example/a", "d.example/a"});
  const long long start_ns = sys::monotonic_ns();
  const registry::CredentialsByHost found = find_credentials(config, -1, 300).value();
  CHECK(sys::monotonic_ns() - start_ns < 3'000'000'000);
  CHECK(found.size() == 4);
  for (const auto& [host, credential] : found) CHECK(credential.anonymous());
}

TEST_CASE("a helper that hangs is asked once, and leaves time to others") {
  const DockerFolder docker("echo asked >> $(dirname \"$0\")/asked; exec sleep 1000",
                            R"({"credHelpers":{"c.example":"quick"},"credsStore":"test"})");
  docker.add_helper("quick", R"(echo '{"Username":"u","Secret":"s"}')");
  const config::Config config = config_with(docker.path(), {"a.example/a", "b.example/a", "c.example/a"});
  const registry::CredentialsByHost found = find_credentials(config, -1, 2000).value();
  CHECK(found.at("a.example").anonymous());
  CHECK(found.at("b.example").anonymous());
  CHECK(found.at("c.example").user == "u");
  CHECK(sys::read_file(docker.path() + "/asked").value() == "asked\n");
}

TEST_CASE("an interrupt ends the search at once") {
  const DockerFolder docker("exec sleep 1000");
  const config::Config config = config_with(docker.path(), {"a.example/a", "b.example/a"});
  const Fd interrupt(::eventfd(0, EFD_CLOEXEC));
  const long long start_ns = sys::monotonic_ns();
  std::thread interrupting([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ::eventfd_write(interrupt.get(), 1);
  });
  const auto found = find_credentials(config, interrupt.get(), 60'000);
  interrupting.join();
  REQUIRE_FALSE(found);
  CHECK(found.error().code == Code::cancelled);
  CHECK(sys::monotonic_ns() - start_ns < 10'000'000'000);
}

}  // namespace lambdo::server
