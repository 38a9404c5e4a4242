#pragma once

#include <string_view>

#include "base/error.h"
#include "http/message.h"

namespace lambdo::http {

/// The status that answers an error of this class: the one table from Code to HTTP.
int status_of(Code code);

/// The answer to a failed request: `{"error":{"code":"<code_name>","message":"..."}}`, with Retry-After where
/// trying again helps.
Response error_response(const Error& error);
/// The same under a status that HTTP itself asks for (408, 417, 505).
Response error_response(int status, Code code, std::string_view message);

}  // namespace lambdo::http
