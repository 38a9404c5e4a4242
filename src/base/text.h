#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// Small text helpers that the standard library lacks.
namespace lambdo {

/// One step of decoding UTF-8: a valid sequence of `len_bytes`, or the maximal invalid part (Unicode 15, 3.9,
/// D93b).
struct Utf8Step {
  bool valid;
  size_t len_bytes;  ///< at least 1
};
/// The step at the start of `text`, which must not be empty.
Utf8Step utf8_step(std::string_view text);
bool is_utf8(std::string_view text);
/// Where text that goes on behind its end can be cut so that decoding the parts gives what decoding the whole
/// would: its length, or up to 3 less. 0 only for text shorter than 4 bytes.
size_t whole_utf8_prefix(std::string_view text);

/// RFC 4648 base64 with padding.
std::string base64_encode(std::string_view bytes);
/// nullopt where `text` is not padded base64 (RFC 4648, 4).
std::optional<std::string> base64_decode(std::string_view text);

/// ASCII only, independent of the locale.
std::string to_lower(std::string_view text);
bool equals_ignoring_case(std::string_view a, std::string_view b);

/// A decimal number without sign or space, nullopt where anything else stands there or it overflows.
std::optional<uint64_t> parse_uint(std::string_view text);

/// The parts between separators: "a::b" has three at ':', of which the second is empty, and "" has one.
std::vector<std::string_view> split(std::string_view text, char separator);
/// Those of them that are not empty.
std::vector<std::string_view> split_nonempty(std::string_view text, char separator);
/// The words with the separator between them.
std::string joined(std::span<const std::string> words, std::string_view separator);
/// Without the blanks at both ends.
std::string_view trimmed(std::string_view text, std::string_view blanks = " \t");

/// What bytes are written with; digests, tokens and escapes have small letters.
inline constexpr std::string_view kHexDigits = "0123456789abcdef";
/// The value of a hexadecimal digit in either case, -1 for another character.
int hex_digit(char c);
/// Two digits a byte: "00ff".
std::string to_hex(std::span<const std::byte> bytes);
/// A number as messages show an address: "0x1f".
std::string hex(uint64_t value);

}  // namespace lambdo
