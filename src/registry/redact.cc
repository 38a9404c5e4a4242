#include "registry/redact.h"

#include <algorithm>

#include "base/text.h"
#include "registry/token.h"

namespace lambdo::registry {

std::vector<std::string> secrets_of(const Credential& credential) {
  std::vector<std::string> secrets;
  for (const std::string& bare : {credential.password, credential.identity_token}) {
    if (bare.empty()) continue;
    secrets.push_back(bare);
    if (std::string encoded = percent_encode(bare); encoded != bare) secrets.push_back(std::move(encoded));
  }
  if (!credential.user.empty()) {
    // Without the padding, which is no secret and often dropped.
    std::string encoded = base64_encode(credential.user + ":" + credential.password);
    encoded.erase(encoded.find_last_not_of('=') + 1);
    secrets.push_back(std::move(encoded));
  }
  return secrets;
}

/// How many bytes of a secret stand at the front of `text`; 0 where they are too few to be it.
static size_t secret_len(std::string_view text, std::string_view secret) {
  constexpr size_t kTellingBytes = 8;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  const auto is_same = [&](char a, char b) { return lower(a) == lower(b); };
  const auto end = std::ranges::mismatch(text, secret, is_same).in1;
  const auto len = static_cast<size_t>(end - text.begin());
  return len == secret.size() || len >= kTellingBytes ? len : 0;
}

std::string redacted(std::string_view text, std::span<const std::string> secrets) {
  std::string out;
  while (!text.empty()) {
    size_t longest = 0;
    for (const std::string& secret : secrets) longest = std::max(longest, secret_len(text, secret));
    if (longest == 0) {
      out += text.front();
      text.remove_prefix(1);
      continue;
    }
    out += "***";
    text.remove_prefix(longest);
  }
  return out;
}

}  // namespace lambdo::registry
