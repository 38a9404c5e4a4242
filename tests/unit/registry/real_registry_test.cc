#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/syscalls.h"
#include "fixture.h"
#include "registry/json_object.h"
#include "test.h"

namespace lambdo::registry {
namespace {

/// registry_lab.py, which runs the distribution's registry with images that skopeo pushed.
class Lab {
 public:
  explicit Lab(const char* mode) {
    auto [child_input, input] = sys::pipe().value();
    auto [output, child_output] = sys::pipe().value();
    posix_spawn_file_actions_t files{};
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_adddup2(&files, child_input.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&files, child_output.get(), STDOUT_FILENO);
    std::string script = LAMBDO_SOURCE_ROOT "/tests/unit/registry/registry_lab.py";
    std::string mode_text = mode;
    std::string python = "python3";
    const std::array<char*, 4> arguments = {python.data(), script.data(), mode_text.data(), nullptr};
    const int error = ::posix_spawn(&pid_, "/usr/bin/python3", &files, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&files);
    REQUIRE(error == 0);
    input_ = std::move(input);
    child_output.reset();
    std::string line;
    for (char c = 0; ::read(output.get(), &c, 1) == 1 && c != '\n';) line += c;
    auto parsed = JsonDocument::parse(line, "the lab's line", Code::internal);
    REQUIRE_MESSAGE(parsed, line);
    document_.emplace(std::move(*parsed));
  }
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;
  ~Lab() {
    input_.reset();
    int status = 0;
    ::waitpid(pid_, &status, 0);
    CHECK(status == 0);
  }

  [[nodiscard]] std::string operator[](const char* name) const {
    return document_->root().required_text(name).value();
  }

 private:
  pid_t pid_ = -1;
  Fd input_;
  std::optional<JsonDocument> document_;
};

void check_image(TestClient& client, const std::string& reference, const Platform& platform) {
  CAPTURE(reference);
  const auto fetched = client.manifest(reference, platform);
  REQUIRE_MESSAGE(fetched, fetched.error().message);
  REQUIRE(fetched->manifest.layers.size() == 1);
  const auto config = client.blob(reference, fetched->manifest.config);
  REQUIRE_MESSAGE(config, config.error().message);
  CHECK(config->contains("\"" + platform.architecture + "\""));
  const auto layer = client.blob(reference, fetched->manifest.layers[0]);
  REQUIRE_MESSAGE(layer, layer.error().message);
  CHECK(layer->size() > 1'000'000);
}

void check_all_images(TestClient& client, const std::string& host) {
  const Platform amd{"linux", "amd64", ""};
  check_image(client, host + "/team/app:oci", amd);
  check_image(client, host + "/team/app:docker", amd);
  check_image(client, host + "/team/app:multi", amd);
  check_image(client, host + "/team/app:multi", {"linux", "arm64", ""});
  CHECK(client.manifest(host + "/team/app:docker")->media_type == media_type::kDockerManifest);
  CHECK(client.manifest(host + "/team/app:oci")->media_type == media_type::kOciManifest);
}

TEST_CASE("the distribution's registry: images of OCI and Docker, indexes, and what is not there") {
  const Lab lab("plain");
  const std::string host = lab["host"];
  TestClient client({host});
  check_all_images(client, host);
  const auto single = client.manifest(host + "/team/app:oci");
  CHECK(client.manifest(host + "/team/app@" + single->digest.text())->digest == single->digest);

  const auto no_tag = client.manifest(host + "/team/app:none");
  REQUIRE(!no_tag);
  CHECK(no_tag.error().code == Code::not_found);
  CHECK(says(no_tag.error(), "MANIFEST_UNKNOWN"));
  const auto no_repository = client.manifest(host + "/nobody/app");
  REQUIRE(!no_repository);
  CHECK(no_repository.error().code == Code::not_found);
  const Descriptor missing{.digest = Digest::of("missing"), .size_bytes = 7};
  const auto no_blob = client.blob(host + "/team/app", missing);
  REQUIRE(!no_blob);
  CHECK(no_blob.error().code == Code::not_found);
  const auto no_platform = client.manifest(host + "/team/app:multi", {"linux", "s390x", ""});
  REQUIRE(!no_platform);
  CHECK(no_platform.error().code == Code::platform_missing);
}

/// With the right password, with a wrong one, and with none.
void check_access(const Lab& lab) {
  const std::string host = lab["host"];
  Settings settings = TestClient::quick_settings();
  settings.credentials[host] = {.user = lab["user"], .password = lab["password"]};
  TestClient right({host}, settings);
  check_all_images(right, host);

  settings.credentials[host].password = "hunter2";
  TestClient wrong({host}, settings);
  const auto refused = wrong.manifest(host + "/team/app:oci");
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::unauthorized);
  CHECK(says(refused.error(), "UNAUTHORIZED"));
  CHECK(!says(refused.error(), "hunter2"));

  TestClient anonymous({host});
  const auto nobody = anonymous.manifest(host + "/team/app:oci");
  REQUIRE(!nobody);
  CHECK(nobody.error().code == Code::unauthorized);
}

TEST_CASE("the distribution's registry with Basic authentication") {
  const Lab lab("htpasswd");
  check_access(lab);
}

TEST_CASE("the distribution's registry with signed tokens") {
  const Lab lab("token");
  check_access(lab);
}

TEST_CASE(
    "the distribution's registry over TLS: certificates that are good, expired, another's and unknown") {
  const Lab lab("tls");
  http::ClientSettings trusting;
  trusting.extra_ca_files = {lab["ca"]};
  TestClient client({}, TestClient::quick_settings(), trusting);
  check_all_images(client, lab["good"]);
  check_all_images(client, "localhost" + lab["good"].substr(lab["good"].find(':')));
  for (const char* name : {"expired", "other"}) {
    CAPTURE(name);
    const auto fetched = client.manifest(lab[name] + "/team/app:oci");
    REQUIRE(!fetched);
    CHECK_MESSAGE(fetched.error().code == Code::tls_failed, fetched.error().message);
  }
  const auto open_tokens = client.manifest(lab["open_tokens"] + "/team/app:oci");
  REQUIRE(!open_tokens);
  CHECK(open_tokens.error().code == Code::permission_denied);
  CHECK(says(open_tokens.error(), "without TLS, which is refused"));
  TestClient strict({});
  const auto unknown = strict.manifest(lab["good"] + "/team/app:oci");
  REQUIRE(!unknown);
  CHECK_MESSAGE(unknown.error().code == Code::tls_failed, unknown.error().message);
}

}  // namespace
}  // namespace lambdo::registry
