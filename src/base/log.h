#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

/// Structured logs: one line an event on standard error, a constant message and key=value fields.
/// With `Format::json` one JSON object a line. Thread-safe. Nobody waits for a reader: lines that a full pipe
/// does not take are dropped, and how many is said before the next line that it takes.
namespace lambdo::log {

enum class Level { debug, info, warning, error };
enum class Format { text, json };

/// A field of a log line. Numbers and booleans are written bare, text is quoted and escaped.
struct Field {
  Field(std::string_view field_key, std::string_view text) : key(field_key), value(text), quoted(true) {}
  Field(std::string_view field_key, const char* text) : Field(field_key, std::string_view(text)) {}
  Field(std::string_view field_key, const std::string& text) : Field(field_key, std::string_view(text)) {}
  Field(std::string_view field_key, bool flag) : key(field_key), value(flag ? "true" : "false") {}
  template <std::integral Number>
  Field(std::string_view field_key, Number number) : key(field_key), value(std::to_string(number)) {}

  std::string_view key;
  std::string value;
  bool quoted = false;
};
using Fields = std::initializer_list<Field>;

/// Sets what is written and how. Call once, before any thread is started.
void configure(Level level, Format format);
/// Writes to this descriptor from now on, which stays open until the next call.
void direct_to(int fd);

void debug(std::string_view message, Fields fields = {});
void info(std::string_view message, Fields fields = {});
void warning(std::string_view message, Fields fields = {});
void error(std::string_view message, Fields fields = {});

}  // namespace lambdo::log
