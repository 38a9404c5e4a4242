#include "cli/terminal_text.h"

#include <array>
#include <cstdint>
#include <cstdio>

#include "base/text.h"

namespace lambdo::cli {

/// Of a valid sequence; 0 for those of one and of four bytes, none of which is of interest here.
static uint32_t code_point(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])); };
  if (bytes.size() == 2) return (at(0) & 0x1f) << 6 | (at(1) & 0x3f);
  if (bytes.size() == 3) return (at(0) & 0x0f) << 12 | (at(1) & 0x3f) << 6 | (at(2) & 0x3f);
  return 0;
}

/// C1 controls, which terminals obey in UTF-8 too, and what breaks lines or changes their direction (Unicode
/// 15, 23.2 and UAX 9, 2).
static bool acts_on_terminal(uint32_t code) {
  return (code >= 0x80 && code <= 0x9f) || code == 0x61c || code == 0x200e || code == 0x200f ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

static void append_number(std::string& out, const char* format, uint32_t number) {
  std::array<char, 16> text{};
  const int length = std::snprintf(text.data(), text.size(), format, number);
  out.append(text.data(), static_cast<size_t>(length));
}

std::string terminal_text(std::string_view text) {
  constexpr size_t kMaxBytes = 2048;
  constexpr unsigned char kDelete = 0x7f;
  const bool is_cut = text.size() > kMaxBytes;
  if (is_cut) text = text.substr(0, whole_utf8_prefix(text.substr(0, kMaxBytes)));
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    const std::string_view bytes = text.substr(0, step.len_bytes);
    const auto first = static_cast<unsigned char>(bytes.front());
    if (!step.valid || first < ' ' || first == kDelete) {
      for (const char c : bytes) append_number(out, "\\x%02x", static_cast<unsigned char>(c));
    } else if (const uint32_t code = code_point(bytes); acts_on_terminal(code)) {
      append_number(out, "\\u%04x", code);
    } else {
      out += bytes;
    }
    text.remove_prefix(step.len_bytes);
  }
  return is_cut ? out + "..." : out;
}

}  // namespace lambdo::cli
