#include "image/layers/entry_path.h"

#include "test.h"

namespace lambdo::image {

TEST_CASE("names of entries become normal paths") {
  for (const auto& [name, path] : std::initializer_list<std::pair<std::string_view, std::string_view>>{
           {"a", "a"},
           {"./a//b/", "a/b"},
           {".", ""},
           {"./", ""},
           {"a/./b", "a/b"},
           {"...", "..."},
           {"..a/b..", "..a/b.."},
       }) {
    CAPTURE(name);
    CHECK(normal_path(name, 4095).value() == path);
  }
}

TEST_CASE("names that lead out of the root are refused") {
  for (const std::string_view name :
       {"/", "/a", "//a", "..", "../a", "a/..", "a/../b", "./..", "a/b/../../.."}) {
    CAPTURE(name);
    const auto path = normal_path(name, 4095);
    REQUIRE_FALSE(path);
    CHECK(path.error().code == Code::path_escape);
    CHECK(path.error().message.contains(name));
  }
}

TEST_CASE("names that no file system takes are refused") {
  CHECK(normal_path("", 4095).error().code == Code::layer_invalid);
  CHECK(normal_path(std::string(256, 'a'), 4095).error().code == Code::layer_invalid);
  CHECK(normal_path("x/" + std::string(255, 'a'), 4095).value().size() == 257);
  CHECK(normal_path(std::string(11, 'a'), 10).error().code == Code::image_too_large);
}

TEST_CASE("a name in a message has nothing in it that a terminal would act on") {
  CHECK(quoted("a b") == "'a b'");
  CHECK(quoted("\x1b[2J'\\\n\xff") == "'\\x1b[2J\\x27\\x5c\\x0a\\xff'");
  const std::string long_name = quoted(std::string(500, 'a') + "z");
  CHECK(long_name.size() < 220);
  CHECK(long_name.contains("[...]"));
  CHECK(long_name.ends_with("az'"));
}

TEST_CASE("a path is taken apart at its slashes") {
  std::string_view rest = "a/b/c";
  CHECK(take_part(rest) == "a");
  CHECK(take_part(rest) == "b");
  CHECK(take_part(rest) == "c");
  CHECK(rest.empty());
  CHECK(split_path("a/b/c").folder == "a/b");
  CHECK(split_path("a/b/c").name == "c");
  CHECK(split_path("c").folder.empty());
}

}  // namespace lambdo::image
