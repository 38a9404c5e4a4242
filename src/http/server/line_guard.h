#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace lambdo::http {

/// Why a line is refused; static text.
struct LineProblem {
  int status;
  const char* message;
};

/// Checks the lines of a message before llhttp reads them, because llhttp 8.1 is more tolerant than is safe
/// behind or in front of a proxy that reads them differently: it takes a CR or a LF alone for a line's end
/// (CVE-2023-30589), continuation lines, empty field names, HTTP/0.9 and RTSP.
/// What passes is: request-line CRLF *(field-line CRLF) CRLF (RFC 9112, 2.1), no control characters.
class LineGuard {
 public:
  struct Verdict {
    size_t good_bytes = 0;                 ///< how far the bytes passed
    const LineProblem* problem = nullptr;  ///< what stands after them, if they did not all pass
    bool head_ended = false;               ///< the empty line came; good_bytes ends with it
  };

  /// The next bytes of a head. Stops after the empty line.
  Verdict check_head(std::string_view bytes);
  /// The next bytes of chunk sizes, extensions and trailers: the lines of a chunked body without its data.
  Verdict check_framing(std::string_view bytes);

  /// Whether anything but the empty lines before a request has come.
  [[nodiscard]] bool started() const { return started_; }
  /// Bytes of framing that carry no size: chunk extensions and trailers.
  [[nodiscard]] size_t surplus_bytes() const { return surplus_bytes_; }
  void reset() { *this = LineGuard(); }

 private:
  size_t skip_ordinary(std::string_view bytes);
  const LineProblem* check_byte(char byte);
  const LineProblem* check_request_line_byte(char byte);
  const LineProblem* check_request_line() const;

  bool started_ = false;
  bool in_request_line_ = true;
  bool after_cr_ = false;
  size_t line_len_ = 0;  ///< of the line so far, without CR and LF
  size_t surplus_bytes_ = 0;
  unsigned spaces_ = 0;  ///< in the request line
  std::array<char, 8> protocol_{};
  size_t protocol_len_ = 0;
};

}  // namespace lambdo::http
