#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "registry/program.h"

namespace lambdo::registry {

/// What proves to a registry who asks. All empty: anonymous. Its texts are secret: they are never part of an
/// error or a log line.
struct Credential {
  std::string user;
  std::string password;
  std::string identity_token;  ///< an OAuth 2 refresh token, in place of user and password

  [[nodiscard]] bool anonymous() const { return user.empty() && password.empty() && identity_token.empty(); }
  bool operator==(const Credential&) const = default;
};

/// By host, as references have it.
using CredentialsByHost = std::map<std::string, Credential, std::less<>>;

/// $DOCKER_CONFIG, else ~/.docker; empty where there is neither.
std::string default_docker_config_folder();

/// Looks the credential for a registry up in `config.json` of Docker's configuration folder: the helper that
/// `credHelpers` names for the host, else the one of `credsStore`, else `auths`. Anonymous where nothing is
/// there. `host` is as references have it; docker.io's is known there as https://index.docker.io/v1/.
///
/// A file that others may read too is a warning in the log.
///
/// Errors: invalid_argument (the file is damaged, and says where), unavailable (the helper is missing, fails,
/// or may not be started), timeout, cancelled (interrupted).
///
/// Blocks, and may start a program (docker-credential-NAME from PATH): not for the reactor's thread.
Result<Credential> find_credential(const std::string& config_folder, std::string_view host,
                                   ProgramLimits helper_limits = {});

/// The name of the helper that `find_credential` would ask ("pass" for docker-credential-pass); empty where
/// it would ask none. invalid_argument as there.
Result<std::string> find_credential_helper(const std::string& config_folder, std::string_view host);

}  // namespace lambdo::registry
