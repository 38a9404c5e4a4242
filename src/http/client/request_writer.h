#pragma once

#include <string>

#include "base/error.h"
#include "http/client/client.h"
#include "http/client/proxy.h"

namespace lambdo::http {

/// Whether the request can be written so that it is read as it is meant: no line breaks or control characters
/// in what goes into its head, names that are tokens (RFC 9110, 5.6.2), none of the fields that the client
/// writes itself. Code::invalid_argument names what is wrong, but no value.
Result<> check_request_to_send(const ClientRequest& request);

/// The head, to the empty line. `proxy` is the one that the request itself goes to, not through a tunnel
/// (RFC 9112, 3.2.2), else nullptr.
std::string request_head(const ClientRequest& request, const Proxy* proxy, const std::string& user_agent);

}  // namespace lambdo::http
