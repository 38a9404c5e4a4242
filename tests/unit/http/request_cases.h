#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace lambdo::http {

/// One request as it goes over the wire and what becomes of it, for the parser and for a whole server.
struct RequestCase {
  std::string name;
  std::string bytes;
  int status = 200;
  std::string code;    ///< of the error
  std::string answer;  ///< of /echo: method, path, ?query, body; for status 200
};

/// The limits the cases are written for.
inline constexpr size_t kCaseMaxHeaderBytes = 512;
inline constexpr size_t kCaseMaxBodyBytes = 64;
inline constexpr size_t kCaseMaxHeaders = 100;

/// Every attack on the grammar that SECURITY.md's catalogue names, and valid requests that look like one.
const std::vector<RequestCase>& request_cases();

}  // namespace lambdo::http
