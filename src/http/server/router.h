#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "http/message.h"

namespace lambdo::http {

/// Answers a request. The request lives until the task, and the response's stream where there is one, has
/// ended. `client_gone` is cancelled when the client closes its connection or the server stops for good:
/// whoever works on for nobody should then stop; the response is dropped or sent, as far as that is still
/// possible.
using Handler = std::function<Task<Response>(Request& request, CancelToken client_gone)>;

/// Which handler answers which method and path. Filled before the server starts, and outlives it.
class Router {
 public:
  /// `path` is compared as a whole with Request::path. A GET handler answers HEAD too: the server sends its
  /// response without the body.
  void add(Method method, std::string path, Handler handler);

  /// Runs the handler. An unknown path is 404, a known one with another method 405 with Allow; OPTIONS gives
  /// Allow.
  [[nodiscard]] Task<Response> dispatch(Request& request, CancelToken client_gone) const;

 private:
  struct Entry {
    Method method;
    Handler handler;
  };
  using Route = std::vector<Entry>;

  static std::string allowed(const Route& route);

  std::map<std::string, Route, std::less<>> routes_;
};

}  // namespace lambdo::http
