#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace lambdo::http {

/// A response as it came over the wire.
struct RawResponse {
  int status = 0;  ///< 0: the connection ended or ten seconds passed before it was complete
  std::string head;
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;                            ///< without chunk framing
};

/// A blocking connection to a server on loopback that sends exactly what it is told, and reads with code that
/// shares nothing with the server's.
class TestClient {
 public:
  explicit TestClient(uint16_t port);

  /// False where the server has closed the connection.
  bool send(std::string_view bytes);
  /// The next response; `has_body` false for the answer to HEAD.
  RawResponse receive(bool has_body = true);
  /// Whether the server ends the connection within ten seconds, without sending anything more.
  bool ended();
  /// All that comes to the end of the connection.
  std::string receive_all();
  /// send, then receive.
  RawResponse exchange(std::string_view bytes);

  void shutdown_write();
  /// Ends the connection with a reset.
  void reset();
  void close() { socket_.reset(); }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  bool fill();
  bool read_line(std::string& line);
  bool read_bytes(std::string& out, size_t len_bytes);
  bool read_chunks(std::string& out);

  Fd socket_;
  std::string buffer_;
};

/// The count of this process's open descriptors.
size_t open_descriptors();

}  // namespace lambdo::http
