#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lambdo::registry {

/// How much of an error's body is read.
inline constexpr size_t kMaxErrorBytes = 64 << 10;

/// What a registry or token server said that was not what was asked for.
struct Refusal {
  std::string_view host;
  int status = 0;
  std::string_view body;  ///< {"errors":[{"code","message"}]}, where it is a registry's
  std::string_view what;  ///< what was asked for: "library/python:3.12"
  /// What was sent to be let in; taken out of the server's words before they are cut.
  std::span<const std::string> secrets;
};

/// Its error: unauthorized for 401 and 403, not_found for 404, overloaded for 429, registry_failed for all
/// else, with the status and the registry's own code and words.
Error refusal_error(const Refusal& refusal);

/// Text of a server as a message may show it: bounded, one line, without what a terminal would act on.
std::string shown_text(std::string_view text, size_t max_bytes);

}  // namespace lambdo::registry
