#pragma once

#include <cstddef>
#include <set>
#include <string>

#include "base/error.h"
#include "http/client/client.h"
#include "http/client/incoming_response.h"

namespace lambdo::http {

/// Follows one request from place to place, by the rules that Client documents.
class Redirects {
 public:
  Redirects(size_t max_redirects, const Url& first);

  /// Whether the response sends us elsewhere and the request may follow.
  [[nodiscard]] static bool is_redirect(const ClientRequest& request, const IncomingResponse& response);
  /// Points the request at where the response says. Code::redirect_refused where it must not go there; an
  /// address can only be judged when it is known, which is why public_only is set for the next hop.
  Result<> follow(ClientRequest& request, const IncomingResponse& response);
  /// The error of a hop, seen from the request as a whole.
  [[nodiscard]] Error explain(Error error, const ClientRequest& request) const;

 private:
  size_t max_redirects_;
  size_t followed_ = 0;
  bool began_in_public_ = false;
  std::set<std::string> visited_;
};

}  // namespace lambdo::http
