#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace lambdo {

/// What went wrong, as a class that a caller can act on. http/errors.cc maps each to an HTTP status and a
/// stable machine-readable name.
enum class Code {
  internal,            ///< a bug of ours or an unexpected answer of the kernel
  invalid_argument,    ///< the request, file or flag is malformed; the message names the field
  not_found,           ///< a named thing (language, route, file, image) does not exist
  method_not_allowed,  ///< the HTTP route exists, not with this method
  payload_too_large,   ///< a body, header or file exceeds its cap
  headers_too_large,   ///< the HTTP header section exceeds its cap
  not_implemented,     ///< valid, but not supported (for example a transfer coding)
  timeout,             ///< a time limit passed
  cancelled,           ///< somebody who no longer wants the result cancelled the work
  closed,              ///< the peer closed the connection
  io,                  ///< a system call failed; os_errno says how
  overloaded,          ///< the queue is full: try again later
  shutting_down,       ///< the server drains and takes no new work
  unavailable,         ///< something needed is missing on this machine; the message says what and the remedy
  permission_denied,   ///< the operating system or a policy refused
  resource_exhausted,  ///< out of descriptors, memory, identifiers or space
  engine_failed,       ///< a guest could not be started
  agent_lost,          ///< the connection to the agent broke before it answered
  agent_protocol,      ///< the agent answered something that is not the protocol
  guest_panic,         ///< the kernel of the guest panicked
  guest_ended,         ///< the guest switched itself off, reset or crashed before it answered
  guest_boot_timeout,  ///< the guest was started, but its agent did not come up in time
  name_unresolved,     ///< a host's name has no address, or no name server answers
  tls_failed,          ///< the handshake failed or the peer's certificate is not good for its name
  redirect_refused,    ///< a redirect loops, is one too many, or leads where it must not
  unauthorized,        ///< a registry wants credentials, or does not accept those given
  registry_failed,     ///< a registry answered with an error of its own, or not what its protocol says
  manifest_invalid,    ///< a manifest, index or image configuration is not what the specification says
  media_type_unsupported,  ///< a manifest or layer of a kind that is not read (schema 1, foreign layers)
  platform_missing,        ///< an image has no variant for the platform asked for
  digest_mismatch,         ///< content is not what its digest says
  size_mismatch,           ///< content is longer or shorter than its descriptor says
  layer_invalid,           ///< a layer is damaged or its entries contradict each other
  path_escape,             ///< an archive names a file outside of its root
  image_too_large,         ///< an image, layer or file in it exceeds its cap
  store_invalid,           ///< the image store holds something damaged
  store_busy,              ///< another process works on the same part of the image store
};

inline constexpr Code kLastCode = Code::store_busy;

/// The stable name of a code, for logs and JSON: the enumerator's own spelling.
std::string_view code_name(Code code);

/// An error as a value. `os_errno` is 0 unless a system call failed.
struct Error {
  Code code = Code::internal;
  int os_errno = 0;
  std::string message;

  /// The same error with `context: ` in front of its message.
  [[nodiscard]] Error with_context(std::string_view context) &&;
  /// The same error under another code.
  [[nodiscard]] Error with_code(Code new_code) &&;
};

template <typename T = void>
using Result = std::expected<T, Error>;

/// `return fail(Code::not_found, "...")` converts to any Result<T>.
[[nodiscard]] std::unexpected<Error> fail(Code code, std::string message);

/// An error of a system call: message is "<what>: <strerror>". EMFILE, ENFILE, ENOMEM and ENOSPC become
/// resource_exhausted, EACCES and EPERM permission_denied, ENOENT not_found, ECANCELED cancelled,
/// ETIME and ETIMEDOUT timeout, EPIPE and ECONNRESET closed, others io.
[[nodiscard]] Error errno_error(int os_errno, std::string_view what);
[[nodiscard]] std::unexpected<Error> fail_errno(int os_errno, std::string_view what);
/// The same for the current `errno`.
[[nodiscard]] std::unexpected<Error> fail_errno(std::string_view what);

namespace detail {
template <typename T>
T take_value(std::expected<T, Error>& result) {
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}
}  // namespace detail

}  // namespace lambdo

/// `auto fd = TRY(sys::open(...));` returns the error from the enclosing function, or yields the value.
#define TRY(expression)                                                       \
  ({                                                                          \
    auto try_result_ = (expression);                                          \
    if (!try_result_) return std::unexpected(std::move(try_result_).error()); \
    ::lambdo::detail::take_value(try_result_);                                \
  })

/// TRY for coroutines: `auto n = CO_TRY(co_await read(...));`
#define CO_TRY(expression)                                                       \
  ({                                                                             \
    auto try_result_ = (expression);                                             \
    if (!try_result_) co_return std::unexpected(std::move(try_result_).error()); \
    ::lambdo::detail::take_value(try_result_);                                   \
  })
