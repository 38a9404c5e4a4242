#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/yaml_reader.h"

/// Getters for the values of our schema that are more than text or a number. Each reports what does not fit
/// at the key's place and leaves the target as it was then.
namespace lambdo::config {

inline constexpr uint64_t kMaxPort = 65535;
inline constexpr uint64_t kMaxTimeMs = 86'400'000;  ///< a day

/// Text that is not empty.
void read_path(YamlMap& map, std::string_view key, std::string& target);
/// An IPv4 or IPv6 address in text form; "localhost" becomes 127.0.0.1.
void read_address(YamlMap& map, std::string_view key, std::string& target);
/// "192.168.10.1/24": an IPv4 address and a prefix length from 1 to 30.
void read_bridge_address(YamlMap& map, std::string_view key, std::string& target);
/// A network interface's name (dev_valid_name() in Linux, net/core/dev.c).
void read_interface_name(YamlMap& map, std::string_view key, std::string& target);

/// A language's name or version: [A-Za-z0-9._+#-]{1,64}.
bool is_language_word(std::string_view text);

/// `command` with its placeholders in their one spelling ({{ fileName }} becomes {{filename}}); nullopt, with
/// an error, where it has one that is unknown. Other text in double braces is the shell's business and stays.
std::optional<std::string> normal_command(const YamlValue& value, std::string_view command);

}  // namespace lambdo::config
