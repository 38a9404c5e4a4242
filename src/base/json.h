#pragma once

#include <concepts>
#include <string>
#include <string_view>

namespace lambdo {

/// Appends `text` as a JSON string with its quotes (RFC 8259, 7). Bytes that are not UTF-8 become U+FFFD, one
/// for each maximal invalid part, as the WHATWG decoder does.
void append_json_string(std::string& out, std::string_view text);
/// The same without the quotes, for text that comes in pieces: cut it with `whole_utf8_prefix`.
void append_json_escaped(std::string& out, std::string_view text);

/// Writes JSON text in order, placing the commas. Parsing is simdjson's; nothing in the distribution's
/// simdjson writes.
///
///   JsonWriter json;
///   json.begin_object().key("status").value(0).key("steps").begin_array().end_array().end_object();
class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool flag) { return raw(flag ? "true" : "false"); }
  template <std::integral Number>
  JsonWriter& value(Number number) {
    return raw(std::to_string(number));
  }
  JsonWriter& value(double number);
  JsonWriter& null() { return raw("null"); }
  /// Text that is JSON already.
  JsonWriter& raw(std::string_view json);
  /// key() and value() in one.
  template <typename T>
  JsonWriter& field(std::string_view name, const T& member) {
    return key(name).value(member);
  }

  [[nodiscard]] const std::string& text() const { return out_; }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void separate();

  std::string out_;
  bool needs_comma_ = false;
};

}  // namespace lambdo
