#include "base/error.h"

#include <array>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace lambdo {

namespace {

struct Row {
  Code code;
  std::string_view name;
};

constexpr std::array kNames = {
    Row{Code::internal, "internal"},
    Row{Code::invalid_argument, "invalid_argument"},
    Row{Code::not_found, "not_found"},
    Row{Code::method_not_allowed, "method_not_allowed"},
    Row{Code::payload_too_large, "payload_too_large"},
    Row{Code::headers_too_large, "headers_too_large"},
    Row{Code::not_implemented, "not_implemented"},
    Row{Code::timeout, "timeout"},
    Row{Code::cancelled, "cancelled"},
    Row{Code::closed, "closed"},
    Row{Code::io, "io"},
    Row{Code::overloaded, "overloaded"},
    Row{Code::shutting_down, "shutting_down"},
    Row{Code::unavailable, "unavailable"},
    Row{Code::permission_denied, "permission_denied"},
    Row{Code::resource_exhausted, "resource_exhausted"},
    Row{Code::engine_failed, "engine_failed"},
    Row{Code::agent_lost, "agent_lost"},
    Row{Code::agent_protocol, "agent_protocol"},
    Row{Code::guest_panic, "guest_panic"},
    Row{Code::guest_ended, "guest_ended"},
    Row{Code::guest_boot_timeout, "guest_boot_timeout"},
    Row{Code::name_unresolved, "name_unresolved"},
    Row{Code::tls_failed, "tls_failed"},
    Row{Code::redirect_refused, "redirect_refused"},
    Row{Code::unauthorized, "unauthorized"},
    Row{Code::registry_failed, "registry_failed"},
    Row{Code::manifest_invalid, "manifest_invalid"},
    Row{Code::media_type_unsupported, "media_type_unsupported"},
    Row{Code::platform_missing, "platform_missing"},
    Row{Code::digest_mismatch, "digest_mismatch"},
    Row{Code::size_mismatch, "size_mismatch"},
    Row{Code::layer_invalid, "layer_invalid"},
    Row{Code::path_escape, "path_escape"},
    Row{Code::image_too_large, "image_too_large"},
    Row{Code::store_invalid, "store_invalid"},
    Row{Code::store_busy, "store_busy"},
};
static_assert(kNames.size() == static_cast<size_t>(kLastCode) + 1);

}  // namespace

std::string_view code_name(Code code) {
  const auto index = static_cast<size_t>(code);
  CHECK(index < kNames.size() && kNames[index].code == code);
  return kNames[index].name;
}

Error Error::with_context(std::string_view context) && {
  message.insert(0, std::string(context) + ": ");
  return std::move(*this);
}

Error Error::with_code(Code new_code) && {
  code = new_code;
  return std::move(*this);
}

std::unexpected<Error> fail(Code code, std::string message) {
  return std::unexpected(Error{code, 0, std::move(message)});
}

static Code code_of_errno(int os_errno) {
  switch (os_errno) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
      return Code::resource_exhausted;
    case EACCES:
    case EPERM:
      return Code::permission_denied;
    case ENOENT:
      return Code::not_found;
    case ECANCELED:
      return Code::cancelled;
    case ETIME:
    case ETIMEDOUT:
      return Code::timeout;
    case EPIPE:
    case ECONNRESET:
      return Code::closed;
    default:
      return Code::io;
  }
}

Error errno_error(int os_errno, std::string_view what) {
  char buffer[128];
  // The GNU strerror_r returns the text, which may or may not be in the buffer.
  const char* text = strerror_r(os_errno, buffer, sizeof buffer);
  return Error{code_of_errno(os_errno), os_errno, std::string(what) + ": " + text};
}

std::unexpected<Error> fail_errno(int os_errno, std::string_view what) {
  return std::unexpected(errno_error(os_errno, what));
}

std::unexpected<Error> fail_errno(std::string_view what) {
  return fail_errno(errno, what);
}

}  // namespace lambdo
