#pragma once

#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace lambdo::registry {

/// A JSON object whose members must have the type that they are read as. Errors have the code given and name
/// the field: "layers[3].size must be a whole number, not a string". A member that is null is absent. Valid
/// while its document lives.
class JsonObject {
 public:
  JsonObject(simdjson::dom::object object, std::string path, Code code)
      : object_(object), path_(std::move(path)), code_(code) {}

  /// The names of the members, in their order.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool has(std::string_view name) const { return member(name).has_value(); }
  [[nodiscard]] Result<std::optional<std::string>> text(std::string_view name) const;
  [[nodiscard]] Result<std::optional<uint64_t>> number(std::string_view name) const;
  [[nodiscard]] Result<std::optional<JsonObject>> object(std::string_view name) const;
  [[nodiscard]] Result<std::string> required_text(std::string_view name) const;
  [[nodiscard]] Result<uint64_t> required_number(std::string_view name) const;
  [[nodiscard]] Result<JsonObject> required_object(std::string_view name) const;
  /// The strings of an array, none where it is absent; image_too_large where there are more than `max`.
  [[nodiscard]] Result<std::vector<std::string>> texts(std::string_view name, size_t max) const;
  /// The objects of an array; image_too_large where there are more than `max`.
  [[nodiscard]] Result<std::vector<JsonObject>> required_objects(std::string_view name, size_t max) const;

  /// An error about a field of this object: "layers[3].size PROBLEM".
  [[nodiscard]] std::unexpected<Error> wrong(std::string_view name, std::string_view problem) const;

 private:
  [[nodiscard]] std::optional<simdjson::dom::element> member(std::string_view name) const;
  [[nodiscard]] std::unexpected<Error> wrong_type(std::string_view name, std::string_view wanted,
                                                  simdjson::dom::element value) const;
  [[nodiscard]] std::string field(std::string_view name) const;

  simdjson::dom::object object_;
  std::string path_;
  Code code_;
};

/// A JSON text that is one object.
class JsonDocument {
 public:
  /// `what` names the text in errors, which have `code`.
  static Result<JsonDocument> parse(std::string_view json, std::string_view what, Code code);
  [[nodiscard]] const JsonObject& root() const { return *root_; }

 private:
  JsonDocument() = default;

  // Objects point into it, so it stays where it is.
  std::unique_ptr<simdjson::dom::parser> parser_;
  std::optional<JsonObject> root_;
};

}  // namespace lambdo::registry
