#include "image/image_config.h"

#include <string>
#include <vector>

#include "test.h"

using namespace lambdo;
using image::ImageConfig;

namespace {

const std::string kDiffId = "sha256:" + std::string(64, '1');

std::string with_config(const std::string& config) {
  return R"({"os":"linux","architecture":"amd64","config":)" + config +
         R"(,"rootfs":{"type":"layers","diff_ids":[")" + kDiffId + R"("]}})";
}

std::string with_rootfs(const std::string& rootfs) {
  return R"({"os":"linux","architecture":"amd64","rootfs":)" + rootfs + "}";
}

}  // namespace

TEST_CASE("an image's configuration says how it is run and of which layers it is") {
  const auto config = ImageConfig::parse(
      with_config(
          R"({"Env":["PATH=/usr/bin","A=1","A=2","E=","AB=3"],"WorkingDir":"/work","User":"1000:app",)"
          R"("Entrypoint":["/entry"],"Cmd":["a","b"],"Labels":{"x":"y"},"ExposedPorts":{"80/tcp":{}}})"),
      1);
  REQUIRE(config);
  CHECK(config->platform.text() == "linux/amd64");
  CHECK(config->variable("PATH") == "/usr/bin");
  CHECK(config->variable("A") == "2");
  CHECK(config->variable("E").empty());
  CHECK(config->variable("PAT").empty());
  CHECK(config->working_dir == "/work");
  CHECK(config->user == "1000:app");
  CHECK(config->entrypoint == std::vector<std::string>{"/entry"});
  CHECK(config->cmd == std::vector<std::string>{"a", "b"});
  REQUIRE(config->diff_ids.size() == 1);
  CHECK(config->diff_ids[0].text() == kDiffId);
}

TEST_CASE("members that are absent or null are empty") {
  for (const char* process : {"null", "{}", R"({"Env":null,"Cmd":null,"User":null,"WorkingDir":""})"}) {
    const auto config = ImageConfig::parse(with_config(process), 1);
    REQUIRE_MESSAGE(config, process);
    CHECK(config->env.empty());
    CHECK(config->cmd.empty());
    CHECK(config->user.empty());
  }
}

TEST_CASE("what is wrong in a configuration is told by its field") {
  struct Case {
    std::string json;
    Code code;
    std::string named;
  };
  const std::string long_string(200 << 10, 'x');
  std::string many = R"({"Cmd":["")";
  for (int i = 0; i < 5000; ++i) many += R"(,"")";
  many += "]}";
  const std::vector<Case> cases = {
      {"", Code::manifest_invalid, "not JSON"},
      {"[]", Code::manifest_invalid, "object"},
      {"{}", Code::manifest_invalid, "os"},
      {R"({"os":"linux"})", Code::manifest_invalid, "architecture"},
      {R"({"os":"linux","architecture":3})", Code::manifest_invalid, "architecture"},
      {R"({"os":"linux","architecture":"amd64"})", Code::manifest_invalid, "rootfs"},
      {with_config("[]"), Code::manifest_invalid, "config"},
      {with_config(R"({"Env":"A=1"})"), Code::manifest_invalid, "config.Env"},
      {with_config(R"({"Env":[1]})"), Code::manifest_invalid, "config.Env[0]"},
      {with_config(R"({"Env":["A"]})"), Code::manifest_invalid, "config.Env"},
      {with_config(R"({"Env":["=A"]})"), Code::manifest_invalid, "config.Env"},
      {with_config(R"({"Env":["A=\u0000"]})"), Code::manifest_invalid, "config.Env"},
      {with_config(R"({"Env":["A=)" + long_string + R"("]})"), Code::manifest_invalid, "config.Env"},
      {with_config(many), Code::image_too_large, "config.Cmd"},
      {with_config(R"({"WorkingDir":"work"})"), Code::manifest_invalid, "config.WorkingDir"},
      {with_config(R"({"WorkingDir":"/a\u0000b"})"), Code::manifest_invalid, "config.WorkingDir"},
      {with_config(R"({"User":7})"), Code::manifest_invalid, "config.User"},
      {with_config(R"({"User":"a\nb"})"), Code::manifest_invalid, "config.User"},
      {with_rootfs("{}"), Code::manifest_invalid, "rootfs.type"},
      {with_rootfs(R"({"type":"disk","diff_ids":[]})"), Code::manifest_invalid, "rootfs.type"},
      {with_rootfs(R"({"type":"layers"})"), Code::manifest_invalid, "rootfs.diff_ids"},
      {with_rootfs(R"({"type":"layers","diff_ids":["sha256:12"]})"), Code::manifest_invalid,
       "rootfs.diff_ids[0]"},
      {with_rootfs(R"({"type":"layers","diff_ids":[")" + kDiffId + R"(",")" + kDiffId + R"("]})"),
       Code::manifest_invalid, "rootfs.diff_ids"},
      {std::string(5 << 20, ' '), Code::image_too_large, "configuration"},
  };
  for (const Case& c : cases) {
    const auto config = ImageConfig::parse(c.json, 1);
    INFO(c.json.substr(0, 200));
    REQUIRE_FALSE(config);
    CHECK(config.error().code == c.code);
    CHECK_MESSAGE(config.error().message.contains(c.named), config.error().message);
  }
}
