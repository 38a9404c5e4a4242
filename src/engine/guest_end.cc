#include "engine/guest_end.h"

#include <algorithm>

#include "kvm/console.h"

namespace lambdo::engine {

static constexpr size_t kMaxPanicBytes = 256;

/// The kernel's own line about its panic; a trace of calls may follow it.
static std::string panic_line(std::string_view console) {
  static constexpr std::string_view kPanic = "Kernel panic - not syncing";
  const std::string_view from = console.substr(std::min(console.find(kPanic), console.size()));
  return kvm::last_console_lines(from.substr(0, std::min(from.find('\n'), kMaxPanicBytes)), 1);
}

static std::string describe(const kvm::VmExit& exit) {
  switch (exit.end) {
    case kvm::VmEnd::power_off:
      return "the guest switched itself off (power off)";
    case kvm::VmEnd::reset:
      return "the guest reset itself";
    case kvm::VmEnd::triple_fault:
      return "the guest crashed (triple fault)";
    case kvm::VmEnd::halted:
      return "the guest halted";
    case kvm::VmEnd::failed:
      return "the guest cannot go on: " + exit.detail;
    case kvm::VmEnd::killed:
      return "the guest was killed";
  }
  return exit.detail;
}

Error error_of_end(const kvm::VmExit& exit, std::string_view console) {
  if (!kvm::console_shows_panic(console)) return {Code::guest_ended, 0, describe(exit)};
  return {Code::guest_panic, 0, "the guest's kernel panicked: " + panic_line(console)};
}

}  // namespace lambdo::engine
