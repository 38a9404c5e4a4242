#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "engine/run_request.h"

namespace lambdo::api {

/// How bytes of a program's output become JSON.
enum class OutputEncoding {
  utf8,    ///< bytes that are not UTF-8 become U+FFFD
  base64,  ///< on request, with a marker in the answer
};

/// The body of POST /run.
struct RunBody {
  engine::RunRequest request;
  OutputEncoding output_encoding = OutputEncoding::utf8;
};

/// Reads the JSON body. Errors are Code::invalid_argument and name the field, as in `code[1].filename: ...`.
/// Fields that are not known are ignored.
Result<RunBody> parse_run_body(std::string_view json);

}  // namespace lambdo::api
