#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "http/message.h"

namespace lambdo::http {

struct Target {
  std::string path;
  std::string query;
};

/// Takes a request target apart (RFC 9112, 3.2): origin-form, absolute-form (its authority is dropped) and,
/// for OPTIONS, "*". The path comes percent-decoded and normalised. Code::invalid_argument for bad escapes,
/// NUL or control characters, bytes that are not UTF-8, a fragment, and ".." above the root.
Result<Target> parse_target(Method method, std::string_view text);

}  // namespace lambdo::http
