#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "reactor/cancel.h"
#include "reactor/task.h"

/// What is said over HTTP/1.1 (RFC 9110, RFC 9112), apart from how it is transported.
namespace lambdo::http {

using reactor::CancelToken;
using reactor::Task;

/// The methods that are served; others are answered with 501.
enum class Method { get, head, post, put, patch, delete_, options };

/// The method as it is written in a request: "GET".
std::string_view method_name(Method method);
std::optional<Method> method_from_name(std::string_view name);

/// The usual phrase of a status, "Unknown" for one that has none.
std::string_view reason_phrase(int status);

/// Header fields in the order they came. Names are compared without case. Views stay valid until the next
/// `add` or `clear`.
class Headers {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
  };

  Headers() = default;
  Headers(std::initializer_list<Field> fields);

  void add(std::string_view name, std::string_view value);
  /// The first value under `name`.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  /// How many fields carry `name`.
  [[nodiscard]] size_t count(std::string_view name) const;
  [[nodiscard]] size_t size() const { return places_.size(); }
  [[nodiscard]] Field operator[](size_t index) const;
  /// Forgets the fields and keeps the memory.
  void clear();

 private:
  struct Place {
    uint32_t name_offset;
    uint32_t name_len;
    uint32_t value_len;
  };

  // One text for all fields: a request costs no allocation once the buffers have grown.
  std::string text_;
  std::vector<Place> places_;
};

enum class Version { http_1_0, http_1_1 };

struct Request {
  Method method = Method::get;
  Version version = Version::http_1_1;
  std::string target;  ///< as it was sent
  std::string path;    ///< percent-decoded, without dot segments and doubled slashes; "*" for OPTIONS *
  std::string query;   ///< what stands after the first '?', not decoded
  Headers headers;
  std::string body;
  bool keep_alive = true;  ///< whether the client allows another request on its connection

  /// Forgets everything and keeps the memory, unless it is a lot.
  void clear();
};

/// Where a streamed body goes.
class BodyWriter {
 public:
  virtual ~BodyWriter() = default;
  /// Sends `data`, which must live until this returns. Waits while the client does not read; fails with
  /// Code::closed, timeout or cancelled once it is of no use to go on.
  virtual Task<Result<>> write(std::string_view data) = 0;
};

/// Produces a streamed body; the writer lives until the task ends. An error breaks the connection off, so
/// that the client sees that the body is not whole.
using BodyStream = std::function<Task<Result<>>(BodyWriter& writer, CancelToken client_gone)>;

struct Response {
  int status = 200;
  Headers
      headers;  ///< beside those the server writes: Content-Length, Content-Type, Connection, Date, Server
  std::string body;
  std::string content_type = "application/json";
  /// Where set, sent in place of `body`: chunked, or up to the connection's end to an HTTP/1.0 client.
  BodyStream stream;
  size_t stream_held_bytes = 0;  ///< the memory that `stream` keeps until it ends
};

}  // namespace lambdo::http
