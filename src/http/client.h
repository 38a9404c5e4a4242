#pragma once

#include <cstddef>
#include <string>

#include "base/error.h"
#include "http/message.h"
#include "http/response_parser.h"
#include "http/url.h"
#include "reactor/reactor.h"

namespace lambdo::http {

struct ClientOptions {
  size_t max_response_bytes = 64 << 20;  ///< of the head and of the body, each
};

/// Sends one request on a connection of its own and gives the whole response, whatever its status. Host,
/// Content-Length and Connection are written here. The token is the way to a time limit (reactor::Deadline).
///
/// The host is an address or "localhost"; other names, and https, are Code::not_implemented with the remedy.
/// Code::payload_too_large where the response is over the cap, Code::closed where it breaks off.
Task<Result<ClientResponse>> request(reactor::Reactor& reactor, Url url, Method method, Headers headers,
                                     std::string body, CancelToken token = {}, ClientOptions options = {});

}  // namespace lambdo::http
