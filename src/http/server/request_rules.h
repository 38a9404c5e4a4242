#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "http/message.h"

namespace lambdo::http {

/// Why a request is answered without being handled.
struct Refusal {
  int status = 400;
  Code code = Code::invalid_argument;
  std::string message;
};

/// What a head must fulfil beyond its grammar before its body is read: who frames the body (RFC 9112, 6), one
/// Host (RFC 9112, 3.2), a known expectation (RFC 9110, 10.1.1). Sets `path` and `query` from the target.
std::optional<Refusal> check_request(Request& request);

/// The body's length as the head gives it; nullopt where it gives none. For a head that passed.
std::optional<uint64_t> content_length(const Request& request);
/// Whether a head that passed says that a chunked body follows.
bool is_chunked(const Request& request);

}  // namespace lambdo::http
