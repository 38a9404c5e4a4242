#include "base/text.h"

#include <array>
#include <string>
#include <vector>

#include "test.h"

namespace lambdo {

TEST_CASE("a step of UTF-8 is a whole character or the longest broken start of one") {
  struct Case {
    std::string_view text;
    bool valid;
    size_t len_bytes;
  };
  for (const auto& [text, valid, len_bytes] : {
           Case{"a", true, 1},
           Case{"\x7f", true, 1},
           Case{"\xc2\x80", true, 2},
           Case{"\xdf\xbf", true, 2},
           Case{"\xe0\xa0\x80", true, 3},
           Case{"\xef\xbf\xbf", true, 3},
           Case{"\xf0\x90\x80\x80", true, 4},
           Case{"\xf4\x8f\xbf\xbf", true, 4},
           Case{"\x80", false, 1},
           Case{"\xc1\xbf", false, 1},          // overlong
           Case{"\xe0\x9f\xbf", false, 1},      // overlong
           Case{"\xf0\x8f\xbf\xbf", false, 1},  // overlong
           Case{"\xed\xa0\x80", false, 1},      // surrogate
           Case{"\xf4\x90\x80\x80", false, 1},  // beyond U+10FFFF
           Case{"\xf8\x80", false, 1},
           Case{"\xc2", false, 1},
           Case{"\xc2\x41", false, 1},
           Case{"\xe1\x80", false, 2},
           Case{"\xe1\x80\x41", false, 2},
           Case{"\xf1\x80\x80", false, 3},
           Case{"\xf1\x80\x80\xc0", false, 3},
       }) {
    CAPTURE(len_bytes);
    const Utf8Step step = utf8_step(text);
    CHECK_EQ(step.valid, valid);
    CHECK_EQ(step.len_bytes, len_bytes);
    CHECK_EQ(is_utf8(text), valid);
  }
  CHECK(is_utf8(""));
  CHECK(is_utf8("abc ä € \U0001F600"));
  CHECK_FALSE(is_utf8("abc \xc3"));
}

TEST_CASE("base64 passes the vectors of RFC 4648 both ways") {
  struct Case {
    std::string_view bytes;
    std::string_view text;
  };
  for (const auto& [bytes, text] : {
           Case{"", ""},
           Case{"f", "Zg=="},
           Case{"fo", "Zm8="},
           Case{"foo", "Zm9v"},
           Case{"foob", "Zm9vYg=="},
           Case{"fooba", "Zm9vYmE="},
           Case{"foobar", "Zm9vYmFy"},
           Case{"\xfb\xff\xbf", "+/+/"},
       }) {
    CHECK_EQ(base64_encode(bytes), text);
    CHECK_EQ(base64_decode(text).value(), bytes);
  }
}

TEST_CASE("base64 of all bytes at every length comes back") {
  std::string bytes;
  for (int i = 0; i < 600; ++i) {
    CHECK_EQ(base64_decode(base64_encode(bytes)).value(), bytes);
    bytes += static_cast<char>(i);
  }
}

TEST_CASE("what is not padded base64 is refused") {
  for (const std::string_view text : {"Z", "Zg", "Zg=", "Zm9", "Zg===", "====", "=", "Z===", "Zg==Zg==",
                                      "=Zm9", "Zm=v", "Zm9v\n", "Zm 9", "Zm9-", "Zm9_", "\xff\xff\xff\xff"}) {
    CAPTURE(text);
    CHECK_FALSE(base64_decode(text).has_value());
  }
}

TEST_CASE("numbers are decimal digits and nothing else") {
  CHECK_EQ(parse_uint("0").value(), 0U);
  CHECK_EQ(parse_uint("007").value(), 7U);
  CHECK_EQ(parse_uint("18446744073709551615").value(), UINT64_MAX);
  for (const std::string_view text : {"", "-1", "+1", " 1", "1 ", "0x10", "1e3", "1.0",
                                      "18446744073709551616", "99999999999999999999999", "a"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_uint(text).has_value());
  }
  CHECK_FALSE(parse_uint(std::string_view("1\0", 2)).has_value());
  CHECK_FALSE(parse_uint(std::string_view()).has_value());
}

TEST_CASE("text is split at its separators, and joined again") {
  using Parts = std::vector<std::string_view>;
  CHECK(split("a::b", ':') == Parts{"a", "", "b"});
  CHECK(split("", ':') == Parts{""});
  CHECK(split(":", ':') == Parts{"", ""});
  CHECK(split_nonempty("a::b", ':') == Parts{"a", "b"});
  CHECK(split_nonempty("::a:", ':') == Parts{"a"});
  CHECK(split_nonempty("", ':').empty());
  CHECK_EQ(joined(std::vector<std::string>{"a", "", "b"}, ", "), "a, , b");
  CHECK_EQ(joined(std::vector<std::string>{}, ", "), "");
}

TEST_CASE("blanks are taken off both ends only") {
  CHECK_EQ(trimmed(" \ta b\t "), "a b");
  CHECK_EQ(trimmed(" \t "), "");
  CHECK_EQ(trimmed(""), "");
  CHECK_EQ(trimmed("\na \n", "\n"), "a ");
}

TEST_CASE("bytes are written with small hexadecimal digits, and digits are read in either case") {
  CHECK_EQ(to_hex(std::array{std::byte{0x00}, std::byte{0x1f}, std::byte{0xe0}}), "001fe0");
  CHECK_EQ(to_hex({}), "");
  for (size_t i = 0; i < kHexDigits.size(); ++i) CHECK_EQ(hex_digit(kHexDigits[i]), static_cast<int>(i));
  CHECK_EQ(hex_digit('A'), 10);
  CHECK_EQ(hex_digit('F'), 15);
  for (const char c : {'g', 'G', '/', ':', '@', '`', ' ', '\0', 'x'}) CHECK_EQ(hex_digit(c), -1);
}

TEST_CASE("case is folded for ASCII letters only") {
  CHECK_EQ(to_lower("AZaz09[@`{ÄÖ"), "azaz09[@`{ÄÖ");
  CHECK(equals_ignoring_case("Content-LENGTH", "content-length"));
  CHECK(equals_ignoring_case("", ""));
  CHECK_FALSE(equals_ignoring_case("Python", "Pythons"));
  CHECK_FALSE(equals_ignoring_case("@", "`"));
  CHECK_FALSE(equals_ignoring_case("Ä", "ä"));
}

TEST_CASE("text is cut where decoding the parts gives what decoding the whole would") {
  struct Case {
    std::string text;
    size_t whole;
  };
  for (const auto& [text, whole] :
       {Case{"", 0}, Case{"abc", 3}, Case{"abc\xc3", 3}, Case{"ab\xc3\xa4", 4}, Case{"ab\xe2\x82", 2},
        Case{"ab\xe2\x82\xac", 5}, Case{"\xf0\x9f\x98", 0}, Case{"a\xf0\x9f\x98\x80", 5},
        Case{"abc\x80\x80\x80\x80", 7}, Case{"abc\xff", 4}}) {
    CAPTURE(text);
    CHECK_EQ(whole_utf8_prefix(text), whole);
  }
}

}  // namespace lambdo
