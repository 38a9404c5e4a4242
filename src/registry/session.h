#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "http/client/client.h"
#include "registry/auth.h"
#include "registry/endpoint.h"
#include "registry/retry.h"

namespace lambdo::registry {

/// A GET of the distribution API.
struct Ask {
  std::string path;  ///< "/v2/library/python/manifests/3.12"
  std::string repository;
  std::string what;  ///< for messages: "library/python:3.12"
  http::Headers headers;
};

/// What one endpoint is asked through.
class Session {
 public:
  /// `context` outlives it.
  Session(const Context& context, Endpoint endpoint)
      : context_(&context), endpoint_(std::move(endpoint)), auth_(context, endpoint_) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// One attempt: authorized, and once more with a fresh authorization where the registry refuses the first.
  /// A response of status 200 or 206, else the error; `attempt` says whether to try again.
  reactor::Task<Result<http::IncomingResponse>> get(Ask ask, Attempt& attempt, reactor::CancelToken token);

  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] const Context& context() const { return *context_; }
  /// An error without the secrets of some length that the server was told: a net below those who take them,
  /// and shorter ones, out of what the server said.
  [[nodiscard]] Error redacted(Error error) const;
  /// Authenticator::secrets: what must be taken out of texts of a server before they enter a message.
  [[nodiscard]] std::vector<std::string> secrets() const { return auth_.secrets(); }

  /// A mirror that failed is left out for a while.
  void set_aside();
  [[nodiscard]] bool is_set_aside() const;

 private:
  reactor::Task<Result<http::IncomingResponse>> send(const Ask& ask, const std::string& authorization,
                                                     Attempt& attempt, reactor::CancelToken token);
  reactor::Task<Error> refusal(http::IncomingResponse& response, const Ask& ask, Attempt& attempt,
                               reactor::CancelToken token);

  const Context* context_;
  const Endpoint endpoint_;
  Authenticator auth_;
  int64_t aside_until_ns_ = 0;
};

}  // namespace lambdo::registry
