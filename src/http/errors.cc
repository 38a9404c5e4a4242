#include "http/errors.h"

#include <array>

#include "base/check.h"
#include "base/json.h"

namespace lambdo::http {

namespace {

struct Row {
  Code code;
  int status;
  int retry_after_s;  ///< 0: no Retry-After
};

// 4xx where the client can put it right, 502 where the guest behind us failed (we are its gateway), 503 where
// trying later helps, 500 for the rest.
constexpr std::array kTable = {
    Row{Code::internal, 500, 0},
    Row{Code::invalid_argument, 400, 0},
    Row{Code::not_found, 404, 0},
    Row{Code::method_not_allowed, 405, 0},
    Row{Code::payload_too_large, 413, 0},
    Row{Code::headers_too_large, 431, 0},
    Row{Code::not_implemented, 501, 0},
    // A program that takes too long is no error but a result of its run; this is Lambdo's own work that did
    // not end in time. 408 would blame the client for being slow, and only the connection says that.
    Row{Code::timeout, 504, 0},
    // Nobody is there to read it; it is for the logs and metrics (as nginx's 499).
    Row{Code::cancelled, 499, 0},
    Row{Code::closed, 502, 0},
    Row{Code::io, 500, 0},
    Row{Code::overloaded, 429, 1},
    Row{Code::shutting_down, 503, 5},
    // Something must be installed or switched on first, so no promise when to come back.
    Row{Code::unavailable, 503, 0},
    Row{Code::permission_denied, 403, 0},
    Row{Code::resource_exhausted, 503, 1},
    Row{Code::engine_failed, 500, 0},
    Row{Code::agent_lost, 502, 0},
    Row{Code::agent_protocol, 502, 0},
    Row{Code::guest_panic, 502, 0},
    Row{Code::guest_ended, 502, 0},
    Row{Code::guest_boot_timeout, 504, 0},
    // Images come from a registry that we are the client of.
    Row{Code::name_unresolved, 502, 0},
    Row{Code::tls_failed, 502, 0},
    Row{Code::redirect_refused, 502, 0},
    Row{Code::unauthorized, 502, 0},
    Row{Code::registry_failed, 502, 0},
    Row{Code::manifest_invalid, 502, 0},
    Row{Code::media_type_unsupported, 502, 0},
    Row{Code::platform_missing, 502, 0},
    Row{Code::digest_mismatch, 502, 0},
    Row{Code::size_mismatch, 502, 0},
    Row{Code::layer_invalid, 502, 0},
    Row{Code::path_escape, 502, 0},
    Row{Code::image_too_large, 502, 0},
    Row{Code::store_invalid, 500, 0},
    Row{Code::store_busy, 503, 1},
};

const Row& row_of(Code code) {
  const auto index = static_cast<size_t>(code);
  CHECK(index < kTable.size() && kTable[index].code == code);
  return kTable[index];
}

}  // namespace

int status_of(Code code) {
  return row_of(code).status;
}

Response error_response(const Error& error) {
  const Row& row = row_of(error.code);
  Response response = error_response(row.status, error.code, error.message);
  if (row.retry_after_s > 0) response.headers.add("Retry-After", std::to_string(row.retry_after_s));
  return response;
}

Response error_response(int status, Code code, std::string_view message) {
  JsonWriter json;
  json.begin_object().key("error").begin_object();
  json.field("code", code_name(code)).field("message", message);
  json.end_object().end_object();
  Response response;
  response.status = status;
  response.body = json.take();
  return response;
}

}  // namespace lambdo::http
