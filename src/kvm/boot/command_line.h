#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lambdo::kvm {

/// COMMAND_LINE_SIZE of x86 is 2048 with the NUL.
inline constexpr size_t kMaxCommandLineBytes = 2047;

/// A kernel command line: parameters with one space between.
class CommandLine {
 public:
  /// What every guest gets: the console on the serial port, a fast and quiet boot, and an end at once where
  /// the kernel panics. Mitigations stay as the kernel has them.
  static CommandLine defaults();

  /// Appends one parameter or several; later ones win over earlier ones. invalid_argument for control
  /// characters and past kMaxCommandLineBytes; the line is then unchanged. Empty text changes nothing.
  Result<> add(std::string_view parameters);
  /// Appends `name=value`. invalid_argument also for a value with a space or quote in it.
  Result<> add(std::string_view name, std::string_view value);

  /// Appends `ip=` with a static IPv4 network for a kernel that configures its interface itself, or for an
  /// agent that does (agent/hand_over.h): as the original's VMM, CLIENT::GATEWAY:NETMASK::DEVICE:off (Linux,
  /// admin-guide/nfs/nfsroot.rst). `address` is "192.168.10.2/24"; `gateway` may be empty. invalid_argument
  /// where one of them is none, or the device's name is no interface's.
  Result<> add_network(const std::string& address, const std::string& gateway,
                       const std::string& device = "eth0");

  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace lambdo::kvm
