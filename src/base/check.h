#pragma once

namespace lambdo {

/// Prints the failed condition with its place to standard error and aborts.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace lambdo

/// Asserts what only a bug of ours can break, in every build. Never for guest, network or configuration
/// input.
#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::lambdo::check_failed(#condition, __FILE__, __LINE__))
