#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

/// Small control files below a folder that is held open, so that they are reached from any mount namespace.
namespace lambdo::namespaces {

/// The whole file, at most 64 KiB of it.
Result<std::string> read_control(int folder, const std::string& path);
/// In one write(2).
Result<> write_control(int folder, const std::string& path, std::string_view value);
/// The number of the line "key number"; nullopt where there is none.
std::optional<uint64_t> keyed_number(std::string_view content, std::string_view key);
/// The number that the file consists of; 0 where it cannot be read.
uint64_t read_number(int folder, const std::string& path);

}  // namespace lambdo::namespaces
