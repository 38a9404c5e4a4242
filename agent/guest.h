#pragma once

#include <string>

/// The agent as a machine's init: sets the machine up, registers with the host, serves the connections that
/// the host makes.
namespace lambdo::agent {

/// Where our files are if this process is a machine's init that was given a configuration: the folder of
/// `program`, its argv[0]. Else empty.
std::string guest_folder(const char* program);

/// Does not return: the machine is powered off when the host asks for it, or when something fails, which the
/// console tells then.
[[noreturn]] void run_guest(const std::string& folder);

}  // namespace lambdo::agent
