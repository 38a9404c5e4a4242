#include "rpc/grpc_wire.h"

#include "test.h"

namespace lambdo::rpc {

using namespace std::string_literals;

TEST_CASE("a status message of any bytes passes through its header") {
  for (const std::string& text : {""s, "plain"s, "100% \xc3\xa4\n\0%41"s, "%"s, "~ "s}) {
    const std::string encoded = percent_encode(text);
    for (const char c : encoded) CHECK((c >= ' ' && c <= '~'));
    CHECK_EQ(percent_decode(encoded), text);
  }
  CHECK_EQ(percent_encode("a\n%"), "a%0A%25");
  CHECK_EQ(percent_decode("%4a%4A%zz%4"), "JJ%zz%4");
}

TEST_CASE("a message is taken from its stream's bytes, whatever pieces they come in") {
  const std::string bytes = "\0\0\0\0\3abc"s;
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    MessageReader reader(64 << 20);
    CHECK(reader.append(bytes.substr(0, cut)));
    CHECK(reader.append(bytes.substr(cut)));
    CHECK(reader.finish());
    CHECK_EQ(reader.take(), "abc");
  }
}

TEST_CASE("a message that is none says why, and stays so") {
  const struct {
    std::string bytes;
    StatusCode code;
  } cases[] = {{"\1\0\0\0\0"s, StatusCode::unimplemented},
               {"\0\4\0\0\1"s, StatusCode::resource_exhausted},
               {"\0\0\0\0\0x"s, StatusCode::unimplemented},
               {"\0\0\0\0\1"s, StatusCode::internal},
               {"\0\0"s, StatusCode::internal},
               {""s, StatusCode::internal}};
  for (const auto& [bytes, code] : cases) {
    MessageReader reader(64 << 20);
    reader.append(bytes);
    CHECK(!reader.finish());
    CHECK_EQ(reader.status().code, code);
    CHECK(!reader.append("\0"s));
  }
}

}  // namespace lambdo::rpc
