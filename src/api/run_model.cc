#include "api/run_model.h"

#include <simdjson.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <utility>

#include "base/text.h"

namespace lambdo::api {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

static std::unexpected<Error> wrong(std::string_view field, std::string_view problem) {
  return fail(Code::invalid_argument, std::string(field) + ": " + std::string(problem));
}

static std::string_view type_name(element value) {
  switch (value.type()) {
    case element_type::ARRAY:
      return "an array";
    case element_type::OBJECT:
      return "an object";
    case element_type::INT64:
    case element_type::UINT64:
    case element_type::DOUBLE:
      return "a number";
    case element_type::STRING:
      return "a string";
    case element_type::BOOL:
      return "a boolean";
    case element_type::NULL_VALUE:
      return "null";
  }
  return "something else";
}

static std::unexpected<Error> wrong_type(std::string_view field, std::string_view wanted, element value) {
  return wrong(field, "must be " + std::string(wanted) + ", not " + std::string(type_name(value)));
}

/// The member, or nothing where it is absent or null.
static std::optional<element> member(object from, std::string_view name) {
  element value;
  if (from[name].get(value) != simdjson::SUCCESS || value.is_null()) return std::nullopt;
  return value;
}

static Result<std::string> string_of(element value, std::string_view field) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return wrong_type(field, "a string", value);
  return std::string(text);
}

static Result<std::string> string_member(object from, std::string_view name) {
  const auto value = member(from, name);
  if (!value) return std::string();
  return string_of(*value, name);
}

/// The text under `name` as bytes; `encoding_name` beside it may say that it is base64.
static Result<std::string> bytes_member(object from, std::string_view name, std::string_view encoding_name,
                                        const std::string& prefix) {
  const auto value = member(from, name);
  if (!value) return wrong(prefix + std::string(name), "is missing");
  std::string content = TRY(string_of(*value, prefix + std::string(name)));
  const auto encoding = member(from, encoding_name);
  if (!encoding) return content;
  const std::string encoding_field = prefix + std::string(encoding_name);
  const std::string spelt = TRY(string_of(*encoding, encoding_field));
  if (spelt == "utf-8") return content;
  if (spelt != "base64") return wrong(encoding_field, "must be \"utf-8\" or \"base64\"");
  auto decoded = base64_decode(content);
  if (!decoded) return wrong(prefix + std::string(name), "is not base64");
  return std::move(*decoded);
}

static Result<> read_code(object body, engine::RunRequest& request) {
  const auto value = member(body, "code");
  if (!value) return wrong("code", "is missing; it is the list of files");
  array files;
  if (value->get(files) != simdjson::SUCCESS) return wrong_type("code", "an array of files", *value);
  if (files.size() > engine::kMaxFiles) {
    return wrong("code", "more than " + std::to_string(engine::kMaxFiles) + " files");
  }
  for (element entry : files) {
    const std::string field = "code[" + std::to_string(request.code.size()) + "]";
    object file;
    if (entry.get(file) != simdjson::SUCCESS) return wrong_type(field, "an object", entry);
    const auto name = member(file, "filename");
    if (!name) return wrong(field + ".filename", "is missing");
    engine::SourceFile source;
    source.filename = TRY(string_of(*name, field + ".filename"));
    source.content = TRY(bytes_member(file, "content", "encoding", field + "."));
    request.code.push_back(std::move(source));
  }
  return {};
}

static Result<> read_args(object body, engine::RunRequest& request) {
  const auto value = member(body, "args");
  if (!value) return {};
  array args;
  if (value->get(args) != simdjson::SUCCESS) return wrong_type("args", "an array of strings", *value);
  if (args.size() > engine::kMaxArguments)
    return wrong("args", "more than " + std::to_string(engine::kMaxArguments));
  for (element argument : args) {
    request.args.push_back(TRY(string_of(argument, "args[" + std::to_string(request.args.size()) + "]")));
  }
  return {};
}

static Result<> read_env(object body, engine::RunRequest& request) {
  const auto value = member(body, "env");
  if (!value) return {};
  object variables;
  if (value->get(variables) != simdjson::SUCCESS) return wrong_type("env", "an object of strings", *value);
  if (variables.size() > engine::kMaxVariables) {
    return wrong("env", "more than " + std::to_string(engine::kMaxVariables) + " variables");
  }
  for (const auto& [name, entry] : variables) {
    request.environment.emplace_back(name, TRY(string_of(entry, "env." + std::string(name))));
  }
  return {};
}

static Result<std::optional<uint64_t>> limit(object limits, std::string_view name) {
  const auto value = member(limits, name);
  if (!value) return std::optional<uint64_t>();
  uint64_t number = 0;
  if (value->get(number) == simdjson::SUCCESS) return std::optional(number);
  const std::string field = "limits." + std::string(name);
  if (!value->is_number()) return wrong_type(field, "a positive whole number", *value);
  return wrong(field, "must be a positive whole number");
}

static Result<> read_limits(object body, engine::RunRequest& request) {
  const auto value = member(body, "limits");
  if (!value) return {};
  object limits;
  if (value->get(limits) != simdjson::SUCCESS) return wrong_type("limits", "an object", *value);
  request.limits.wall_ms = TRY(limit(limits, "wall_ms"));
  request.limits.cpu_ms = TRY(limit(limits, "cpu_ms"));
  request.limits.memory_mb = TRY(limit(limits, "memory_mb"));
  request.limits.output_bytes = TRY(limit(limits, "output_bytes"));
  request.limits.processes = TRY(limit(limits, "processes"));
  return {};
}

/// What `parse` makes of the text, with the field in front of its error.
template <typename T>
static Result<T> parsed(element value, const std::string& field, Result<T> (*parse)(std::string_view)) {
  const std::string text = TRY(string_of(value, field));
  auto result = parse(text);
  if (!result) return std::unexpected(std::move(result).error().with_context(field));
  return result;
}

static Result<array> list_of(element value, const std::string& field, size_t max_count) {
  array list;
  if (value.get(list) != simdjson::SUCCESS) return wrong_type(field, "an array", value);
  if (list.size() > max_count) return wrong(field, "more than " + std::to_string(max_count) + " entries");
  return list;
}

static Result<std::pair<uint16_t, uint16_t>> ports_of(element value, const std::string& field) {
  uint64_t number = 0;
  if (value.get(number) != simdjson::SUCCESS) {
    return parsed<std::pair<uint16_t, uint16_t>>(value, field, net::parse_ports);
  }
  auto ports = net::parse_ports(std::to_string(number));
  if (!ports) return std::unexpected(std::move(ports).error().with_context(field));
  return ports;
}

/// A mistyped key would make a policy wider than it was meant.
static Result<> only_keys(object map, const std::string& field,
                          std::initializer_list<std::string_view> keys) {
  for (const auto entry : map) {
    if (std::ranges::find(keys, entry.key) == keys.end()) {
      return wrong(field + "." + std::string(entry.key), "is unknown");
    }
  }
  return {};
}

static Result<net::Policy::Destination> destination_of(element value, const std::string& field) {
  net::Policy::Destination destination;
  object map;
  if (value.get(map) != simdjson::SUCCESS) {
    destination.to = TRY(parsed<IpSubnet>(value, field, net::parse_network));
    return destination;
  }
  TRY(only_keys(map, field, {"to", "protocol", "ports"}));
  const auto to = member(map, "to");
  if (!to) return wrong(field + ".to", "is missing");
  destination.to = TRY(parsed<IpSubnet>(*to, field + ".to", net::parse_network));
  if (const auto protocol = member(map, "protocol")) {
    destination.protocol =
        TRY(parsed<net::Policy::Protocol>(*protocol, field + ".protocol", net::parse_protocol));
  }
  if (const auto ports = member(map, "ports")) {
    const auto range = TRY(ports_of(*ports, field + ".ports"));
    destination.first_port = range.first;
    destination.last_port = range.second;
  }
  return destination;
}

static Result<> read_destinations(object map, net::PolicyChoice& choice) {
  if (const auto allowed = member(map, "allowed")) {
    choice.allowed.emplace();
    for (element entry : TRY(list_of(*allowed, "network.allowed", net::Policy::kMaxDestinations))) {
      const std::string field = "network.allowed[" + std::to_string(choice.allowed->size()) + "]";
      choice.allowed->push_back(TRY(destination_of(entry, field)));
    }
  }
  if (const auto denied = member(map, "denied")) {
    for (element entry : TRY(list_of(*denied, "network.denied", net::Policy::kMaxDestinations))) {
      const std::string field = "network.denied[" + std::to_string(choice.denied.size()) + "]";
      choice.denied.push_back(TRY(parsed<IpSubnet>(entry, field, net::parse_network)));
    }
  }
  return {};
}

static Result<> read_network(object body, engine::RunRequest& request) {
  const auto value = member(body, "network");
  if (!value) return {};
  net::PolicyChoice choice;
  object map;
  if (value->get(map) == simdjson::SUCCESS) {
    TRY(only_keys(map, "network", {"access", "allowed", "denied"}));
    const auto access = member(map, "access");
    if (!access) return wrong("network.access", "is missing");
    choice.access = TRY(parsed<net::Policy::Access>(*access, "network.access", net::parse_access));
    TRY(read_destinations(map, choice));
  } else {
    choice.access = TRY(parsed<net::Policy::Access>(*value, "network", net::parse_access));
  }
  auto checked = net::check_choice(choice);
  if (!checked) return std::unexpected(std::move(checked).error().with_context("network"));
  request.network = std::move(choice);
  return {};
}

static Result<OutputEncoding> read_output_encoding(object body) {
  const std::string name = TRY(string_member(body, "output_encoding"));
  if (name.empty() || name == "utf-8") return OutputEncoding::utf8;
  if (name == "base64") return OutputEncoding::base64;
  return wrong("output_encoding", "must be \"utf-8\" or \"base64\"");
}

Result<RunBody> parse_run_body(std::string_view json) {
  simdjson::dom::parser parser;
  element root;
  if (const auto error = parser.parse(json.data(), json.size()).get(root); error != simdjson::SUCCESS) {
    return wrong("body", std::string("is not JSON: ") + simdjson::error_message(error));
  }
  object body;
  if (root.get(body) != simdjson::SUCCESS) return wrong_type("body", "a JSON object", root);
  RunBody run;
  if (!member(body, "language")) return wrong("language", "is missing");
  run.request.language = TRY(string_member(body, "language"));
  run.request.version = TRY(string_member(body, "version"));
  if (member(body, "input")) run.request.input = TRY(bytes_member(body, "input", "input_encoding", ""));
  run.request.entrypoint = TRY(string_member(body, "entrypoint"));
  TRY(read_code(body, run.request));
  TRY(read_args(body, run.request));
  TRY(read_env(body, run.request));
  TRY(read_limits(body, run.request));
  TRY(read_network(body, run.request));
  run.output_encoding = TRY(read_output_encoding(body));
  return run;
}

}  // namespace lambdo::api
