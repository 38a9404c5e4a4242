#include "base/json.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "test.h"

namespace lambdo {

using namespace std::string_literals;

static std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST_CASE("strings are escaped where JSON demands it and copied elsewhere") {
  CHECK_EQ(quoted(""), R"("")");
  CHECK_EQ(quoted("plain text / 'with' <signs>"), R"("plain text / 'with' <signs>")");
  CHECK_EQ(quoted("\"\\\n\r\t"), R"("\"\\\n\r\t")");
  CHECK_EQ(quoted("\0\x01\b\f\x1f\x7f"s), R"("\u0000\u0001\u0008\u000c\u001f\u007f")");
  CHECK_EQ(quoted("a\nb\nc"), R"("a\nb\nc")");
  CHECK_EQ(quoted("Käse €5 \U0001F600"), "\"Käse €5 \U0001F600\"");
}

TEST_CASE("each maximal invalid part of UTF-8 becomes one replacement character") {
  static const std::string kR = "\xef\xbf\xbd";
  struct Case {
    std::string bytes;
    std::string expected;
  };
  // The examples of Unicode 15, table 3-8 to 3-11, and the edges of each lead byte.
  for (const auto& [bytes, expected] : {
           Case{"\x80", kR},
           Case{"a\xff"s + "b", "a" + kR + "b"},
           Case{"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", kR + kR + kR + kR + kR + kR + kR + kR + "A"},
           Case{"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", kR + kR + kR + kR + kR + kR + kR + kR + "A"},
           Case{"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", kR + kR + kR + kR + kR + "A" + kR + kR + "B"},
           Case{"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", kR + kR + kR + kR + "A"},
           Case{"\xe2\x82", kR},
           Case{"\xf0\x9f\x98", kR},
           Case{"\xf0\x9f\x98\"", kR + "\\\""},
           Case{"\xc3\xa4\xc3", "ä" + kR},
           Case{"\xf5\x80\x80\x80", kR + kR + kR + kR},
           Case{"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
           Case{"\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80"},
       }) {
    CHECK_EQ(quoted(bytes), '"' + expected + '"');
  }
}

TEST_CASE("the writer places commas in nested objects and arrays") {
  JsonWriter json;
  json.begin_object();
  json.field("status", 0).field("ok", true).field("name", "x").field("text", "y"s);
  json.key("empty").begin_array().end_array();
  json.key("steps").begin_array();
  for (int i = 0; i < 2; ++i) json.begin_object().field("n", i).end_object();
  json.value("last").null().begin_array().value(1).value(2).end_array().end_array();
  json.key("none").null().key("raw").raw(R"({"a":1})").end_object();
  CHECK_EQ(json.text(), R"({"status":0,"ok":true,"name":"x","text":"y","empty":[],)"
                        R"("steps":[{"n":0},{"n":1},"last",null,[1,2]],"none":null,"raw":{"a":1}})");
  CHECK_EQ(json.take().front(), '{');
}

TEST_CASE("keys are escaped too") {
  JsonWriter json;
  json.begin_object().field("a\"b\xff", 1).end_object();
  CHECK_EQ(json.text(), "{\"a\\\"b\xef\xbf\xbd\":1}");
}

TEST_CASE("numbers are written in full and exactly") {
  JsonWriter json;
  json.begin_array();
  json.value(std::numeric_limits<int64_t>::min()).value(std::numeric_limits<uint64_t>::max());
  json.value(0.1).value(-2.0).value(1e300).value(std::numeric_limits<double>::denorm_min());
  json.value(static_cast<double>(NAN)).value(static_cast<double>(INFINITY)).end_array();
  CHECK_EQ(json.text(), "[-9223372036854775808,18446744073709551615,0.1,-2,1e+300,5e-324,null,null]");
}

}  // namespace lambdo
