#include "kvm/boot/command_line.h"

#include <net/if.h>

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "base/ip.h"
#include "base/text.h"

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

bool is_ipv4(const std::string& text) {
  return Ipv4Address::parse(text).has_value();
}

std::string netmask(unsigned prefix_bits) {
  return Ipv4Address{UINT32_MAX << (32 - prefix_bits)}.text();
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

Result<> CommandLine::add_network(const std::string& address, const std::string& gateway,
                                  const std::string& device) {
  const size_t slash = address.find('/');
  const auto prefix_bits =
      slash == std::string::npos ? std::nullopt : parse_uint(std::string_view(address).substr(slash + 1));
  const std::string client = address.substr(0, slash);
  if (!is_ipv4(client) || !prefix_bits || *prefix_bits < 1 || *prefix_bits > 32) {
    return fail(Code::invalid_argument,
                "kernel command line: '" + address + "' is no address like 192.168.10.2/24");
  }
  if (!gateway.empty() && !is_ipv4(gateway)) {
    return fail(Code::invalid_argument,
                "kernel command line: '" + gateway + "' is no gateway's IPv4 address");
  }
  if (device.empty() || device.size() >= IFNAMSIZ || device.find_first_of(":/ ") != std::string::npos) {
    return fail(Code::invalid_argument, "kernel command line: '" + device + "' is no interface's name");
  }
  return add("ip", client + "::" + gateway + ":" + netmask(static_cast<unsigned>(*prefix_bits)) +
                       "::" + device + ":off");
}

}  // namespace lambdo::kvm
