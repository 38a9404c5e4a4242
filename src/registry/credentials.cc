#include "registry/credentials.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/syscalls.h"
#include "base/text.h"
#include "registry/json_object.h"
#include "registry/reference.h"

namespace lambdo::registry {

namespace {

/// As which Docker keeps the credentials for docker.io.
constexpr std::string_view kDockerKey = "https://index.docker.io/v1/";
constexpr size_t kMaxFileBytes = 1 << 20;

/// The host of a key, which may be a URL: "https://registry.example/v1/" and "registry.example" are one.
std::string_view host_of_key(std::string_view key) {
  const size_t scheme = key.find("://");
  if (scheme != std::string_view::npos) key.remove_prefix(scheme + 3);
  return key.substr(0, key.find('/'));
}

bool is_docker(std::string_view host) {
  return host == Reference::kDefaultHost || host == "index.docker.io" || host == "registry-1.docker.io";
}

/// The key that stands for `host`: exactly it, else one that means the same.
std::optional<std::string> key_for(const JsonObject& object, std::string_view host) {
  const std::vector<std::string> names = object.names();
  const std::string_view exact = is_docker(host) ? kDockerKey : host;
  if (std::ranges::find(names, exact) != names.end()) return std::string(exact);
  for (const std::string& name : names) {
    const std::string_view other = host_of_key(name);
    if (equals_ignoring_case(other, host) || (is_docker(host) && is_docker(other))) return name;
  }
  return std::nullopt;
}

/// `auth` is base64 of "user:password".
Result<> read_auth(const JsonObject& entry, std::string_view encoded, Credential& credential) {
  const auto decoded = base64_decode(encoded);
  const size_t colon = decoded ? decoded->find(':') : std::string::npos;
  if (colon == std::string::npos || colon == 0) return entry.wrong("auth", "must be base64 of USER:PASSWORD");
  credential.user = decoded->substr(0, colon);
  credential.password = decoded->substr(colon + 1);
  // Some old files are padded with zeros.
  credential.password.erase(credential.password.find_last_not_of('\0') + 1);
  return {};
}

Result<Credential> read_entry(const JsonObject& entry) {
  Credential credential;
  const std::string auth = TRY(entry.text("auth")).value_or("");
  if (!auth.empty()) {
    TRY(read_auth(entry, auth, credential));
  } else {
    credential.user = TRY(entry.text("username")).value_or("");
    credential.password = TRY(entry.text("password")).value_or("");
  }
  credential.identity_token = TRY(entry.text("identitytoken")).value_or("");
  return credential;
}

/// Part of a program's name, so nothing that could lead elsewhere.
Result<> check_helper_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  if (name.empty() || name.size() > 64 || !std::ranges::all_of(name, allowed)) {
    return fail(Code::invalid_argument,
                "the name of a credential helper may only have letters, digits, '-', '_' and '.'");
  }
  return {};
}

/// The protocol of docker-credential-helpers: "get", the registry on standard input, JSON as the answer.
Result<Credential> ask_helper(const std::string& name, std::string_view host, ProgramLimits limits) {
  TRY(check_helper_name(name));
  const std::string program = "docker-credential-" + name;
  const std::string_view key = is_docker(host) ? kDockerKey : host;
  const ProgramResult result = TRY(run_program({program, "get"}, key, limits));
  if (result.exit_code != 0) {
    // Its own words for "there is nothing"; anything else it says may be secret.
    if (result.output.contains("credentials not found")) return Credential{};
    return fail(Code::unavailable, program + " failed with status " + std::to_string(result.exit_code) +
                                       " for " + std::string(key));
  }
  const JsonDocument answer =
      TRY(JsonDocument::parse(result.output, "the answer of " + program, Code::unavailable));
  Credential credential;
  std::string user = TRY(answer.root().required_text("Username"));
  std::string secret = TRY(answer.root().required_text("Secret"));
  if (user == "<token>") {
    credential.identity_token = std::move(secret);
  } else {
    credential.user = std::move(user);
    credential.password = std::move(secret);
  }
  return credential;
}

Result<std::string> helper_for(const JsonObject& root, std::string_view host) {
  const auto helpers = TRY(root.object("credHelpers"));
  if (helpers) {
    const auto key = key_for(*helpers, host);
    if (key) return helpers->required_text(*key);
  }
  return TRY(root.text("credsStore")).value_or("");
}

void warn_if_open(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || (status.st_mode & 077) == 0) return;
  log::warning("others may read the credentials in this file; run chmod 600 on it", {{"file", path}});
}

Result<Credential> find_in(std::string_view json, const std::string& path, std::string_view host,
                           ProgramLimits limits) {
  const JsonDocument document = TRY(JsonDocument::parse(json, "the file", Code::invalid_argument));
  const JsonObject& root = document.root();
  const std::string helper = TRY(helper_for(root, host));
  if (!helper.empty()) {
    Credential credential = TRY(ask_helper(helper, host, limits));
    if (!credential.anonymous()) return credential;
  }
  const auto auths = TRY(root.object("auths"));
  if (!auths) return Credential{};
  const auto key = key_for(*auths, host);
  if (!key) return Credential{};
  const JsonObject entry = TRY(auths->required_object(*key));
  Credential credential = TRY(read_entry(entry));
  if (!credential.anonymous()) warn_if_open(path);
  return credential;
}

}  // namespace

std::string default_docker_config_folder() {
  if (const char* folder = std::getenv("DOCKER_CONFIG"); folder != nullptr && *folder != '\0') return folder;
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    return std::string(home) + "/.docker";
  }
  return {};
}

/// The text of config.json; nullopt where there is none.
static Result<std::optional<std::string>> read_config(const std::string& path) {
  auto json = sys::read_file(path, kMaxFileBytes);
  if (!json && json.error().code == Code::not_found) return std::nullopt;
  return TRY(std::move(json));
}

Result<std::string> find_credential_helper(const std::string& config_folder, std::string_view host) {
  const std::string path = config_folder + "/config.json";
  const auto json = TRY(read_config(path));
  if (!json) return std::string();
  const auto document = JsonDocument::parse(*json, "the file", Code::invalid_argument);
  if (!document) return std::unexpected(Error(document.error()).with_context(path));
  auto helper = helper_for(document->root(), host);
  if (!helper) return std::unexpected(std::move(helper).error().with_context(path));
  return helper;
}

Result<Credential> find_credential(const std::string& config_folder, std::string_view host,
                                   ProgramLimits helper_limits) {
  if (config_folder.empty()) return Credential{};
  const std::string path = config_folder + "/config.json";
  const auto json = TRY(read_config(path));
  if (!json) return Credential{};
  auto credential = find_in(*json, path, host, helper_limits);
  if (!credential) return std::unexpected(std::move(credential).error().with_context(path));
  return credential;
}

}  // namespace lambdo::registry
