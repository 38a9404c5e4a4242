#include "base/log.h"

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <regex>
#include <thread>
#include <vector>

#include "base/syscalls.h"

#include "test.h"

namespace lambdo {

/// What `body` writes to standard error, at most what fits a memory file.
static std::string captured(const std::function<void()>& body) {
  const Fd before = sys::dup(STDERR_FILENO).value();
  const Fd memory = sys::memfd("stderr").value();
  ::dup2(memory.get(), STDERR_FILENO);
  body();
  ::dup2(before.get(), STDERR_FILENO);
  return sys::read_file("/proc/self/fd/" + std::to_string(memory.get())).value();
}

static void write_all_kinds() {
  log::info("run finished", {{"id", "a\"b\n"}, {"steps", 3}, {"ok", true}, {"big", UINT64_MAX}});
}

TEST_CASE("a text line has time, level, message and fields") {
  log::configure(log::Level::info, log::Format::text);
  const std::string line = captured(write_all_kinds);
  static const std::regex kExpected(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d info run finished)"
                                    R"( id="a\\"b\\n" steps=3 ok=true big=18446744073709551615\n)");
  CHECK_MESSAGE(std::regex_match(line, kExpected), line);
}

TEST_CASE("a JSON line is one object") {
  log::configure(log::Level::info, log::Format::json);
  const std::string line = captured(write_all_kinds);
  static const std::regex kExpected(
      R"re(\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d","level":"info",)re"
      R"re("message":"run finished","id":"a\\"b\\n","steps":3,"ok":true,"big":18446744073709551615\}\n)re");
  CHECK_MESSAGE(std::regex_match(line, kExpected), line);
  const std::string hostile = captured([] { log::error("{} %v \xff \"quoted\"", {{"key", "\x01\xfe{}"}}); });
  CHECK(
      hostile.ends_with("\"level\":\"error\",\"message\":\"{} %v \xef\xbf\xbd \\\"quoted\\\"\","
                        "\"key\":\"\\u0001\xef\xbf\xbd{}\"}\n"));
  log::configure(log::Level::info, log::Format::text);
}

TEST_CASE("lines below the level are left out") {
  struct Case {
    log::Level level;
    size_t lines;
  };
  for (const auto& [level, lines] : {Case{log::Level::debug, 4}, Case{log::Level::info, 3},
                                     Case{log::Level::warning, 2}, Case{log::Level::error, 1}}) {
    log::configure(level, log::Format::text);
    const std::string text = captured([] {
      log::debug("one");
      log::info("two");
      log::warning("three");
      log::error("four");
    });
    CHECK_EQ(static_cast<size_t>(std::ranges::count(text, '\n')), lines);
    CHECK(text.ends_with("error four\n"));
  }
  log::configure(log::Level::info, log::Format::text);
}

TEST_CASE("lines from several threads stay whole") {
  const std::string text = captured([] {
    std::vector<std::thread> threads;
    threads.reserve(4);
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([] {
        for (int line = 0; line < 250; ++line) log::info("line", {{"end", "here"}});
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  size_t whole = 0;
  for (size_t start = 0; start < text.size();) {
    const size_t end = text.find('\n', start);
    REQUIRE_NE(end, std::string::npos);
    if (text.substr(start, end - start).ends_with(" info line end=\"here\"")) ++whole;
    start = end + 1;
  }
  CHECK_EQ(whole, 1000U);
}

}  // namespace lambdo
