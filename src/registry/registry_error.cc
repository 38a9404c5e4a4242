#include "registry/registry_error.h"

#include "base/text.h"
#include "registry/json_object.h"
#include "registry/redact.h"

namespace lambdo::registry {

static Code code_of(int status) {
  switch (status) {
    case 401:
    case 403:
      return Code::unauthorized;
    case 404:
      return Code::not_found;
    case 429:
      return Code::overloaded;
    default:
      return Code::registry_failed;
  }
}

std::string shown_text(std::string_view text, size_t max_bytes) {
  std::string out(text.substr(0, whole_utf8_prefix(text.substr(0, max_bytes))));
  if (!is_utf8(out)) return "text that is not UTF-8";
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  }
  return out;
}

/// "MANIFEST_UNKNOWN: manifest unknown", of the first error; empty where the body is not a registry's.
static Result<std::string> own_words(std::string_view body, std::span<const std::string> secrets) {
  constexpr size_t kMaxCode = 64;
  constexpr size_t kMaxMessage = 300;
  const JsonDocument document = TRY(JsonDocument::parse(body, "the body", Code::registry_failed));
  const auto errors = TRY(document.root().required_objects("errors", 1024));
  if (errors.empty()) return std::string();
  const std::string code = TRY(errors.front().text("code")).value_or("");
  const std::string message = TRY(errors.front().text("message")).value_or("");
  std::string words = shown_text(redacted(code, secrets), kMaxCode);
  if (!message.empty()) {
    words += (words.empty() ? "" : ": ") + shown_text(redacted(message, secrets), kMaxMessage);
  }
  return words;
}

Error refusal_error(const Refusal& refusal) {
  std::string message = std::string(refusal.host) + " answers " + std::to_string(refusal.status) + " for " +
                        std::string(refusal.what);
  const auto words = own_words(refusal.body.substr(0, kMaxErrorBytes), refusal.secrets);
  if (words && !words->empty()) message += " (" + *words + ")";
  return Error{code_of(refusal.status), 0, std::move(message)};
}

}  // namespace lambdo::registry
