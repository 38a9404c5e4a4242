#pragma once

#include <string>
#include <string_view>

namespace lambdo::cli {

/// Somebody else's text (an image's, a registry's) for a terminal: on one line, at most 2 KiB, and nothing in
/// it that a terminal acts on or that reorders what stands beside it. Such characters are shown as "\x1b" and
/// "\u202e", bytes that are not UTF-8 as "\xff".
std::string terminal_text(std::string_view text);

}  // namespace lambdo::cli
