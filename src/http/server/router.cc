#include "http/server/router.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "http/errors.h"

namespace lambdo::http {

static constexpr std::string_view kAllMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

static Task<Response> answer(Response response) {
  co_return response;
}

static Response options_response(std::string_view allow) {
  Response response;
  response.status = 204;
  response.headers.add("Allow", allow);
  return response;
}

void Router::add(Method method, std::string path, Handler handler) {
  Route& route = routes_[std::move(path)];
  CHECK(std::ranges::find(route, method, &Entry::method) == route.end());
  route.push_back({method, std::move(handler)});
}

Task<Response> Router::dispatch(Request& request, CancelToken client_gone) const {
  if (request.path == "*") return answer(options_response(kAllMethods));
  const auto found = routes_.find(request.path);
  if (found == routes_.end()) {
    return answer(error_response({Code::not_found, 0, "nothing is served at " + request.path}));
  }
  const Route& route = found->second;
  const Method wanted = request.method == Method::head ? Method::get : request.method;
  if (const auto entry = std::ranges::find(route, wanted, &Entry::method); entry != route.end()) {
    return entry->handler(request, client_gone);
  }
  if (request.method == Method::options) return answer(options_response(allowed(route)));
  const std::string allow = allowed(route);
  Response refusal = error_response({Code::method_not_allowed, 0,
                                     std::string(method_name(request.method)) + " is not allowed on " +
                                         request.path + "; allowed: " + allow});
  refusal.headers.add("Allow", allow);
  return answer(std::move(refusal));
}

std::string Router::allowed(const Route& route) {
  std::string list;
  for (const Entry& entry : route) {
    list += std::string(method_name(entry.method)) + ", ";
    if (entry.method == Method::get) list += "HEAD, ";
  }
  return list + "OPTIONS";
}

}  // namespace lambdo::http
