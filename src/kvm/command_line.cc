#include "kvm/command_line.h"

#include <algorithm>

#include "base/check.h"

namespace lambdo::kvm {

namespace {

constexpr std::string_view kDefaults =
    "console=ttyS0 quiet "
    // A panic resets at once, through the FADT's reset register: one port write, unlike a triple fault, which
    // stays the mark of a kernel that ran wild.
    "panic=-1 reboot=acpi "
    // Nothing to look for: no PCI, one UART, no keyboard controller behind the reset port.
    "pci=off 8250.nr_uarts=1 i8042.noaux i8042.nokbd "
    // The clock comes from KVM; measuring and watching it costs time and misjudges a paused guest.
    "tsc=reliable "
    // The host's RDRAND seeds the pool, so that nothing waits for entropy.
    "random.trust_cpu=on "
    // Self tests of algorithms, and 64 MiB set aside for devices that cannot reach high memory: of no use
    // here.
    "cryptomgr.notests swiotlb=noforce";

/// What ends a line for the kernel's parser, or has no place in text.
bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

}  // namespace

CommandLine CommandLine::defaults() {
  CommandLine line;
  CHECK(line.add(kDefaults).has_value());
  return line;
}

Result<> CommandLine::add(std::string_view parameters) {
  if (parameters.empty()) return {};
  if (std::ranges::any_of(parameters, is_control)) {
    return fail(Code::invalid_argument,
                "kernel command line: a control character (NUL, newline, tab...) in it");
  }
  const size_t size_bytes = text_.size() + (text_.empty() ? 0 : 1) + parameters.size();
  if (size_bytes > kMaxCommandLineBytes) {
    return fail(Code::invalid_argument, "kernel command line: " + std::to_string(size_bytes) +
                                            " bytes, the limit is " + std::to_string(kMaxCommandLineBytes));
  }
  if (!text_.empty()) text_ += ' ';
  text_ += parameters;
  return {};
}

Result<> CommandLine::add(std::string_view name, std::string_view value) {
  if (value.find_first_of(" \"") != std::string_view::npos) {
    return fail(Code::invalid_argument,
                "kernel command line: the value of " + std::string(name) + " has a space or quote in it");
  }
  return add(std::string(name) + "=" + std::string(value));
}

}  // namespace lambdo::kvm
