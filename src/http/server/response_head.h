#pragma once

#include <ctime>
#include <string>

#include "http/message.h"

namespace lambdo::http {

/// Writes the heads of responses. Keeps what all of them share, the date above all, which changes once a
/// second.
class ResponseHeadWriter {
 public:
  /// Appends status line and headers, to the empty line. `close` announces the connection's end.
  void append(std::string& out, const Response& response, const Request& request, bool close);

 private:
  void refresh_common();

  std::time_t second_ = 0;
  std::string common_;
};

/// Whether a response to this request carries a body (RFC 9110, 6.4.1).
bool has_body(const Request& request, const Response& response);

}  // namespace lambdo::http
