#include "registry/credentials.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include <string>

#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "base/text.h"
#include "scratch.h"
#include "test.h"

namespace lambdo::registry {
namespace {

std::string auths(const std::string& key, const std::string& entry) {
  return R"({"auths":{")" + key + R"(":)" + entry + "}}";
}
std::string auth_entry(const std::string& user_and_password) {
  return R"({"auth":")" + base64_encode(user_and_password) + R"("})";
}

Result<Credential> find_in_file(const std::string& json, std::string_view host) {
  const ScratchFolder folder;
  folder.write("config.json", json);
  return find_credential(folder.path(), host);
}

TEST_CASE("credentials of config.json are found by the registry's host") {
  const std::string docker = auths("https://index.docker.io/v1/", auth_entry("me:secret"));
  const struct {
    std::string json;
    std::string_view host;
    Credential credential;
  } rows[] = {
      {docker, "docker.io", {"me", "secret", ""}},
      {auths("docker.io", auth_entry("me:secret")), "docker.io", {"me", "secret", ""}},
      {docker, "quay.io", {}},
      {auths("r.example:5000", auth_entry("me:a:b:")), "r.example:5000", {"me", "a:b:", ""}},
      {auths("r.example:5000", auth_entry("me:x")), "r.example", {}},
      {auths("https://r.example/v2/", auth_entry("me:x")), "r.example", {"me", "x", ""}},
      {auths("R.Example", auth_entry("me:x")), "r.example", {"me", "x", ""}},
      {auths("r.example", auth_entry(std::string("me:x\0\0", 6))), "r.example", {"me", "x", ""}},
      {auths("r.example", auth_entry("me:")), "r.example", {"me", "", ""}},
      {auths("r.example", R"({"username":"me","password":"x"})"), "r.example", {"me", "x", ""}},
      {auths("r.example", R"({"identitytoken":"long"})"), "r.example", {"", "", "long"}},
      {auths("r.example", "{}"), "r.example", {}},
      {"{}", "r.example", {}},
      {R"({"HttpHeaders":{"a":"b"},"auths":null})", "r.example", {}},
  };
  for (const auto& row : rows) {
    CAPTURE(row.json);
    const auto credential = find_in_file(row.json, row.host);
    REQUIRE_MESSAGE(credential, credential.error().message);
    CHECK(*credential == row.credential);
  }
}

TEST_CASE("without a file or a folder one is anonymous") {
  const ScratchFolder folder;
  CHECK(find_credential(folder.path(), "r.example").value().anonymous());
  CHECK(find_credential(folder.path() + "/none", "r.example").value().anonymous());
  CHECK(find_credential("", "r.example").value().anonymous());
}

TEST_CASE("a damaged file is refused, and its secrets are not shown") {
  const struct {
    std::string json;
    std::string_view reason;
  } rows[] = {
      {"{", "is not JSON"},
      {"[]", "must be a JSON object"},
      {R"({"auths":[]})", "auths must be an object"},
      {auths("r.example", "7"), "auths.r.example must be an object"},
      {auths("r.example", R"({"auth":7})"), "auth must be a string"},
      {auths("r.example", R"({"auth":"hunter2"})"), "must be base64"},
      {auths("r.example", auth_entry("hunter2")), "must be base64"},
      {auths("r.example", auth_entry(":hunter2")), "must be base64"},
      {R"({"credHelpers":{"r.example":"../../bin/sh"}})", "may only have letters"},
      {R"({"credsStore":"a b"})", "may only have letters"},
      {R"({"credsStore":7})", "credsStore must be a string"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.json);
    const auto credential = find_in_file(row.json, "r.example");
    REQUIRE(!credential);
    CHECK(credential.error().code == Code::invalid_argument);
    CHECK_MESSAGE(credential.error().message.find(row.reason) != std::string::npos,
                  credential.error().message);
    CHECK(credential.error().message.find("config.json") != std::string::npos);
    CHECK(credential.error().message.find("hunter2") == std::string::npos);
  }
}

TEST_CASE("a file that others may read is a warning, and is used") {
  const ScratchFolder folder;
  folder.write("config.json", auths("r.example", auth_entry("me:secret")), 0644);
  const std::string log_path = folder.write("log", "");
  const Fd log_file = sys::open(log_path, O_WRONLY | O_APPEND).value();
  log::direct_to(log_file.get());
  const auto credential = find_credential(folder.path(), "r.example");
  log::direct_to(STDERR_FILENO);
  CHECK(credential.value().user == "me");
  const std::string lines = sys::read_file(log_path).value();
  CHECK(lines.find("chmod 600") != std::string::npos);
  CHECK(lines.find("secret") == std::string::npos);
}

/// A folder with a helper in PATH and a configuration that names it.
class Helper {
 public:
  explicit Helper(const std::string& script, const std::string& config = R"({"credsStore":"test"})")
      : path_("PATH", folder_.path() + ":/usr/bin:/bin") {
    folder_.write("docker-credential-test", "#!/bin/sh\n" + script, 0700);
    folder_.write("config.json", config);
  }
  Result<Credential> find(std::string_view host, ProgramLimits limits = {}) const {
    return find_credential(folder_.path(), host, limits);
  }
  [[nodiscard]] const ScratchFolder& folder() const { return folder_; }

 private:
  ScratchFolder folder_;
  ScopedVariable path_;
};

TEST_CASE("a credential helper is asked with the registry's key on its standard input") {
  const std::string script =
      R"(read -r key; printf '{"ServerURL":"%s","Username":"%s","Secret":"from %s"}' "$key" "$1" "$key")";
  const Helper helper(script);
  CHECK(helper.find("r.example:5000").value() == Credential{"get", "from r.example:5000", ""});
  CHECK(helper.find("docker.io").value() == Credential{"get", "from https://index.docker.io/v1/", ""});
}

TEST_CASE("credHelpers stands before credsStore, and both before auths") {
  const std::string script = R"(echo '{"Username":"helper","Secret":"s"}')";
  const Helper own(script, R"({"credHelpers":{"r.example":"test"},"credsStore":"missing","auths":{}})");
  CHECK(own.find("r.example").value().user == "helper");
  const auto other = own.find("other.example");
  REQUIRE(!other);
  CHECK(other.error().code == Code::unavailable);
  CHECK(other.error().message.find("docker-credential-missing is not installed") != std::string::npos);
}

TEST_CASE("a helper's token is an identity token, and one that has nothing leaves auths") {
  const Helper token(R"(echo '{"Username":"<token>","Secret":"refresh"}')");
  CHECK(token.find("r.example").value() == Credential{"", "", "refresh"});
  const Helper nothing("echo 'credentials not found in native keychain'; exit 1",
                       R"({"credsStore":"test","auths":{"r.example":)" + auth_entry("me:x") + "}}");
  CHECK(nothing.find("r.example").value() == Credential{"me", "x", ""});
  CHECK(nothing.find("other.example").value().anonymous());
}

TEST_CASE("a helper that misbehaves is refused without its words, and leaves no process") {
  const struct {
    std::string script;
    ProgramLimits limits;
    Code code;
    std::string_view reason;
  } rows[] = {
      {"echo hunter2; exit 3", {}, Code::unavailable, "failed with status 3"},
      {"kill -9 $$", {}, Code::unavailable, "failed with status 137"},
      {"echo hunter2", {}, Code::unavailable, "is not JSON"},
      {"true", {}, Code::unavailable, "is not JSON"},
      {R"(echo '{"Username":"u"}')", {}, Code::unavailable, "Secret is missing"},
      {R"(echo '{"Username":7,"Secret":"hunter2"}')", {}, Code::unavailable, "Username must be a string"},
      {"exec sleep 1000", {.timeout_ms = 100}, Code::timeout, "took longer than 100 ms"},
      {"sleep 1000 & sleep 1000", {.timeout_ms = 100}, Code::timeout, "took longer"},
      {"yes hunter2", {.max_output_bytes = 10'000}, Code::payload_too_large, "more than 10000 bytes"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.script);
    const Helper helper("echo $$ > \"${0%/*}/pid\"\n" + row.script);
    const auto credential = helper.find("r.example", row.limits);
    REQUIRE(!credential);
    CHECK(credential.error().code == row.code);
    CHECK_MESSAGE(credential.error().message.find(row.reason) != std::string::npos,
                  credential.error().message);
    CHECK(credential.error().message.find("hunter2") == std::string::npos);
    const int pid = std::stoi(sys::read_file(helper.folder().path() + "/pid").value());
    CHECK(::kill(pid, 0) == -1);
  }
}

TEST_CASE("what a helper leaves running does not keep its answer back") {
  const Helper helper(R"(sleep 1000 & echo '{"Username":"u","Secret":"s"}')");
  CHECK(helper.find("r.example", {.timeout_ms = 10'000}).value().user == "u");
}

TEST_CASE("a helper gets none of our descriptors") {
  // One that is open for programs, as a library may leave it.
  const Fd open_to_all(::open("/dev/zero", O_RDONLY));
  REQUIRE(open_to_all.valid());
  const std::string path = "/proc/$$/fd/" + std::to_string(open_to_all.get());
  const Helper helper("[ \"$(readlink " + path + ")\" = /dev/zero ] && leaked=yes\n" +
                      R"(printf '{"Username":"u","Secret":"%s"}' "${leaked:-no}")");
  const auto credential = helper.find("r.example");
  REQUIRE_MESSAGE(credential, credential.error().message);
  CHECK(credential->password == "no");
}

TEST_CASE("Docker's folder is $DOCKER_CONFIG, or .docker of the home folder") {
  const ScopedVariable home("HOME", "/home/someone");
  {
    const ScopedVariable folder("DOCKER_CONFIG", "/elsewhere");
    CHECK(default_docker_config_folder() == "/elsewhere");
  }
  const ScopedVariable folder("DOCKER_CONFIG", "");
  CHECK(default_docker_config_folder() == "/home/someone/.docker");
}

}  // namespace
}  // namespace lambdo::registry
