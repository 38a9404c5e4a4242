#include "registry/digest.h"

#include <optional>
#include <span>

#include "base/text.h"

namespace lambdo::registry {

namespace {

std::optional<unsigned> digit_value(char digit) {
  const size_t value = kHexDigits.find(digit);
  if (value == std::string_view::npos) return std::nullopt;
  return static_cast<unsigned>(value);
}

}  // namespace

Result<Digest> Digest::parse(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos)
    return fail(Code::invalid_argument, "a digest is sha256: and 64 digits");
  if (!text.starts_with(kPrefix)) {
    return fail(Code::invalid_argument, "digests of the algorithm '" + std::string(text.substr(0, colon)) +
                                            "' are not supported, only sha256");
  }
  text.remove_prefix(kPrefix.size());
  Sha256::Value value;
  if (text.size() != 2 * value.size()) {
    return fail(Code::invalid_argument, "a sha256 digest has 64 digits, not " + std::to_string(text.size()));
  }
  for (size_t i = 0; i < value.size(); ++i) {
    const auto high = digit_value(text[2 * i]);
    const auto low = digit_value(text[2 * i + 1]);
    if (!high || !low) return fail(Code::invalid_argument, "a digest has only the digits 0-9 and a-f");
    value[i] = static_cast<std::byte>(*high << 4 | *low);
  }
  return Digest(value);
}

Digest Digest::of(std::string_view content) {
  return Digest(Sha256::of(std::as_bytes(std::span(content))));
}

std::string Digest::hex() const {
  return to_hex(value_);
}

}  // namespace lambdo::registry
