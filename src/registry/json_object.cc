#include "registry/json_object.h"

namespace lambdo::registry {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

static std::string_view type_name(element value) {
  switch (value.type()) {
    case element_type::ARRAY:
      return "an array";
    case element_type::OBJECT:
      return "an object";
    case element_type::INT64:
      // What is not negative is UINT64 or fits the field.
      return "a negative number";
    case element_type::UINT64:
    case element_type::DOUBLE:
      return "a number of another kind";
    case element_type::STRING:
      return "a string";
    case element_type::BOOL:
      return "a boolean";
    case element_type::NULL_VALUE:
      return "null";
  }
  return "something else";
}

std::string JsonObject::field(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

std::unexpected<Error> JsonObject::wrong(std::string_view name, std::string_view problem) const {
  return fail(code_, field(name) + " " + std::string(problem));
}

std::unexpected<Error> JsonObject::wrong_type(std::string_view name, std::string_view wanted,
                                              element value) const {
  return wrong(name, "must be " + std::string(wanted) + ", not " + std::string(type_name(value)));
}

std::optional<element> JsonObject::member(std::string_view name) const {
  element value;
  if (object_[name].get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
  return value;
}

std::vector<std::string> JsonObject::names() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : object_) names.emplace_back(name);
  return names;
}

Result<std::optional<std::string>> JsonObject::text(std::string_view name) const {
  const auto value = member(name);
  if (!value) return std::optional<std::string>();
  std::string_view text;
  if (value->get(text) != simdjson::SUCCESS) return wrong_type(name, "a string", *value);
  return std::optional(std::string(text));
}

Result<std::optional<uint64_t>> JsonObject::number(std::string_view name) const {
  const auto value = member(name);
  if (!value) return std::optional<uint64_t>();
  uint64_t number = 0;
  if (!value->is_uint64() && !value->is_int64()) return wrong_type(name, "a whole number", *value);
  if (value->get(number) != simdjson::SUCCESS || number > INT64_MAX) {
    return wrong(name, "must be from 0 to 9223372036854775807");
  }
  return std::optional(number);
}

Result<std::optional<JsonObject>> JsonObject::object(std::string_view name) const {
  const auto value = member(name);
  if (!value) return std::optional<JsonObject>();
  simdjson::dom::object inner;
  if (value->get(inner) != simdjson::SUCCESS) return wrong_type(name, "an object", *value);
  return std::optional(JsonObject(inner, field(name), code_));
}

Result<std::string> JsonObject::required_text(std::string_view name) const {
  auto value = TRY(text(name));
  if (!value) return wrong(name, "is missing");
  return std::move(*value);
}

Result<uint64_t> JsonObject::required_number(std::string_view name) const {
  const auto value = TRY(number(name));
  if (!value) return wrong(name, "is missing");
  return *value;
}

Result<JsonObject> JsonObject::required_object(std::string_view name) const {
  auto value = TRY(object(name));
  if (!value) return wrong(name, "is missing");
  return std::move(*value);
}

Result<std::vector<std::string>> JsonObject::texts(std::string_view name, size_t max) const {
  std::vector<std::string> texts;
  const auto value = member(name);
  if (!value) return texts;
  array elements;
  if (value->get(elements) != simdjson::SUCCESS) return wrong_type(name, "an array", *value);
  for (const element entry : elements) {
    if (texts.size() == max) {
      return fail(Code::image_too_large, field(name) + " has more than " + std::to_string(max) + " entries");
    }
    std::string_view text;
    if (entry.get(text) != simdjson::SUCCESS) {
      return wrong_type(std::string(name) + "[" + std::to_string(texts.size()) + "]", "a string", entry);
    }
    texts.emplace_back(text);
  }
  return texts;
}

Result<std::vector<JsonObject>> JsonObject::required_objects(std::string_view name, size_t max) const {
  const auto value = member(name);
  if (!value) return wrong(name, "is missing");
  array elements;
  if (value->get(elements) != simdjson::SUCCESS) return wrong_type(name, "an array", *value);
  std::vector<JsonObject> objects;
  for (const element entry : elements) {
    const std::string place = std::string(name) + "[" + std::to_string(objects.size()) + "]";
    if (objects.size() == max) {
      return fail(Code::image_too_large, field(name) + " has more than " + std::to_string(max) + " entries");
    }
    simdjson::dom::object inner;
    if (entry.get(inner) != simdjson::SUCCESS) return wrong_type(place, "an object", entry);
    objects.emplace_back(inner, field(place), code_);
  }
  return objects;
}

Result<JsonDocument> JsonDocument::parse(std::string_view json, std::string_view what, Code code) {
  JsonDocument document;
  document.parser_ = std::make_unique<simdjson::dom::parser>();
  element root;
  if (const auto error = document.parser_->parse(json.data(), json.size()).get(root);
      error != simdjson::SUCCESS) {
    return fail(code, std::string(what) + " is not JSON: " + simdjson::error_message(error));
  }
  simdjson::dom::object object;
  if (root.get(object) != simdjson::SUCCESS) {
    return fail(code, std::string(what) + " must be a JSON object, not " + std::string(type_name(root)));
  }
  document.root_.emplace(object, "", code);
  return document;
}

}  // namespace lambdo::registry
