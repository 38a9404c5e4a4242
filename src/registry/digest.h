#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/sha256.h"

namespace lambdo::registry {

/// The digest of content, by which registries and the store name it (OCI image 1.1, descriptor.md,
/// "Digests"). Only sha256, the one algorithm that registries use.
class Digest {
 public:
  /// The digest of nothing that exists: all zeros.
  Digest() = default;
  explicit Digest(const Sha256::Value& value) : value_(value) {}

  /// "sha256:" and 64 hexadecimal digits in lower case. invalid_argument for all else, and says which
  /// algorithm where it is another one.
  static Result<Digest> parse(std::string_view text);
  static Digest of(std::string_view content);

  /// "sha256:" and the digits.
  [[nodiscard]] std::string text() const { return "sha256:" + hex(); }
  /// The 64 digits alone, as files are named.
  [[nodiscard]] std::string hex() const;
  /// The first 12 digits, for people.
  [[nodiscard]] std::string short_hex() const { return hex().substr(0, 12); }

  auto operator<=>(const Digest&) const = default;

 private:
  Sha256::Value value_{};
};

}  // namespace lambdo::registry
