#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace lambdo::registry {

/// One challenge of a WWW-Authenticate field (RFC 9110, 11.3 and 11.6.1).
struct Challenge {
  std::string scheme;                                           ///< in lower case: "bearer"
  std::string token68;                                          ///< in place of parameters
  std::vector<std::pair<std::string, std::string>> parameters;  ///< names in lower case

  /// The value of a parameter, by its name in lower case.
  [[nodiscard]] std::optional<std::string_view> parameter(std::string_view name) const;
};

/// The challenges of one field, which may be several: `Basic realm="a, b", Bearer realm="https://..."`.
/// registry_failed says where the field is not what the grammar allows. At most 16 challenges of 32
/// parameters.
Result<std::vector<Challenge>> parse_challenges(std::string_view field);

}  // namespace lambdo::registry
