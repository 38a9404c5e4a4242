#include "cli/image/pull_display.h"

#include <algorithm>

#include "cli/image/remedy.h"

#include "test.h"

namespace lambdo::cli {

using image::LayerPhase;

static PullView sample() {
  return {.image = "python:3.12-slim",
          .layers = {{"aaaaaaaaaaaa", LayerPhase::unpacked, 0, 1000},
                     {"bbbbbbbbbbbb", LayerPhase::fetching, 500'000, 1'000'000},
                     {"cccccccccccc", LayerPhase::waiting, 0, 30'000'000},
                     {"dddddddddddd", LayerPhase::unpacking, 0, 2'000'000}}};
}

TEST_CASE("there is a line for each layer, then one for the whole") {
  const auto lines = render(sample(), 80, 20);
  REQUIRE_EQ(lines.size(), 5);
  CHECK(lines[0].starts_with("  aaaaaaaaaaaa  unpacked   "));
  CHECK_NE(lines[1].find("[==============>"), std::string::npos);
  CHECK_NE(lines[1].find("500.0 kB of 1.0 MB"), std::string::npos);
  CHECK_EQ(lines[4], "python:3.12-slim: 7% of 33.0 MB");
}

TEST_CASE("no line is wider than the terminal, and no more lines are drawn than it has") {
  for (const size_t columns : {1, 5, 20, 40, 79, 200}) {
    for (const size_t rows : {1, 2, 3, 5, 24}) {
      CAPTURE(columns);
      CAPTURE(rows);
      const auto lines = render(sample(), columns, rows);
      CHECK_LE(lines.size(), rows);
      CHECK(std::ranges::all_of(lines, [&](const std::string& line) { return line.size() <= columns; }));
    }
  }
}

TEST_CASE("where there is no room for all layers those that are done go first") {
  const auto lines = render(sample(), 80, 3);
  REQUIRE_EQ(lines.size(), 3);
  CHECK(lines[0].starts_with("  bbbbbbbbbbbb"));
  CHECK(lines[1].starts_with("  dddddddddddd"));
}

TEST_CASE("what is done last is told") {
  PullView view = sample();
  for (auto& layer : view.layers) layer.phase = LayerPhase::unpacked;
  CHECK_EQ(render(view, 80, 9).back(), "python:3.12-slim: fetched, 4 of 4 layers unpacked");
  view.writing = true;
  CHECK_EQ(render(view, 80, 9).back(), "python:3.12-slim: writing the root file system");
  CHECK_EQ(render({.image = "x"}, 80, 9), std::vector<std::string>{"x: asking the registry"});
}

TEST_CASE("sizes are as people read them") {
  CHECK_EQ(readable_bytes(0), "0 B");
  CHECK_EQ(readable_bytes(999), "999 B");
  CHECK_EQ(readable_bytes(1000), "1.0 kB");
  CHECK_EQ(readable_bytes(999'960), "1.0 MB");
  CHECK_EQ(readable_bytes(48'200'000), "48.2 MB");
  CHECK_EQ(readable_bytes(3'000'000'000'000'000), "3000.0 TB");
}

TEST_CASE("each error of images comes with something that one can do about it") {
  for (int code = static_cast<int>(Code::name_unresolved); code <= static_cast<int>(kLastCode); ++code) {
    CAPTURE(code_name(static_cast<Code>(code)));
    CHECK_FALSE(remedy({static_cast<Code>(code), 0, ""}).empty());
  }
}

}  // namespace lambdo::cli
