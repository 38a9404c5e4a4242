#include "base/error.h"

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace lambdo {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::internal:
      return "internal";
    case Code::invalid_argument:
      return "invalid_argument";
    case Code::not_found:
      return "not_found";
    case Code::method_not_allowed:
      return "method_not_allowed";
    case Code::payload_too_large:
      return "payload_too_large";
    case Code::headers_too_large:
      return "headers_too_large";
    case Code::not_implemented:
      return "not_implemented";
    case Code::timeout:
      return "timeout";
    case Code::cancelled:
      return "cancelled";
    case Code::closed:
      return "closed";
    case Code::io:
      return "io";
    case Code::overloaded:
      return "overloaded";
    case Code::shutting_down:
      return "shutting_down";
    case Code::unavailable:
      return "unavailable";
    case Code::permission_denied:
      return "permission_denied";
    case Code::resource_exhausted:
      return "resource_exhausted";
    case Code::engine_failed:
      return "engine_failed";
    case Code::agent_lost:
      return "agent_lost";
    case Code::agent_protocol:
      return "agent_protocol";
    case Code::guest_panic:
      return "guest_panic";
    case Code::guest_ended:
      return "guest_ended";
    case Code::guest_boot_timeout:
      return "guest_boot_timeout";
    case Code::name_unresolved:
      return "name_unresolved";
    case Code::tls_failed:
      return "tls_failed";
    case Code::redirect_refused:
      return "redirect_refused";
    case Code::unauthorized:
      return "unauthorized";
    case Code::registry_failed:
      return "registry_failed";
    case Code::manifest_invalid:
      return "manifest_invalid";
    case Code::media_type_unsupported:
      return "media_type_unsupported";
    case Code::platform_missing:
      return "platform_missing";
    case Code::digest_mismatch:
      return "digest_mismatch";
    case Code::size_mismatch:
      return "size_mismatch";
    case Code::layer_invalid:
      return "layer_invalid";
    case Code::path_escape:
      return "path_escape";
    case Code::image_too_large:
      return "image_too_large";
    case Code::store_invalid:
      return "store_invalid";
    case Code::store_busy:
      return "store_busy";
  }
  CHECK(false && "unknown error code");
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
