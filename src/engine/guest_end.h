#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "kvm/vm_exit.h"

namespace lambdo::engine {

/// Lines of a guest's console that go to the log where a guest fails.
inline constexpr size_t kLoggedConsoleLines = 12;

/// Why a microVM ended by itself, as the run that it was for is told: guest_panic, with the kernel's own line
/// about it, where its console shows one, else guest_ended.
Error error_of_end(const kvm::VmExit& exit, std::string_view console);

}  // namespace lambdo::engine
