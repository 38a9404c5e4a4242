#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "registry/credentials.h"

namespace lambdo::registry {

/// All spellings of a credential that a server may have got and can repeat: user and password in base64, the
/// password and the identity token bare and as a form has them.
std::vector<std::string> secrets_of(const Credential& credential);

/// `text` with "***" for each secret in it, in whatever case. Of a secret that was cut the beginning goes
/// too, from 8 bytes on; cut after this and not before.
std::string redacted(std::string_view text, std::span<const std::string> secrets);

}  // namespace lambdo::registry
