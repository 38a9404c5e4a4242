#include "base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <functional>
#include <regex>
#include <thread>
#include <vector>

#include "base/syscalls.h"

#include "test.h"

namespace lambdo {

/// What `body` logs, at most what fits a memory file.
static std::string captured(const std::function<void()>& body) {
  const Fd memory = sys::memfd("log").value();
  log::direct_to(memory.get());
  body();
  log::direct_to(STDERR_FILENO);
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

/// What is in a pipe or socket now.
static std::string drained(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  pollfd readable{.fd = fd, .events = POLLIN, .revents = 0};
  while (::poll(&readable, 1, 0) > 0 && (readable.revents & POLLIN) != 0) {
    text.append(buffer.data(), static_cast<size_t>(::read(fd, buffer.data(), buffer.size())));
  }
  return text;
}

static size_t count_lines(const std::string& text, std::string_view end) {
  size_t count = 0;
  for (size_t start = 0; start < text.size();) {
    const size_t stop = std::min(text.find('\n', start), text.size());
    if (std::string_view(text).substr(start, stop - start).ends_with(end)) ++count;
    start = stop + 1;
  }
  return count;
}

/// A reader's and a writer's end with room for some kilobytes.
static std::pair<Fd, Fd> narrow_pipe() {
  auto ends = sys::pipe().value();
  REQUIRE_GE(::fcntl(ends.second.get(), F_SETPIPE_SZ, 4096), 4096);
  return ends;
}

static std::pair<Fd, Fd> narrow_socket() {
  auto ends = sys::socketpair(SOCK_STREAM).value();
  const int size_bytes = 4096;
  REQUIRE_EQ(::setsockopt(ends.second.get(), SOL_SOCKET, SO_SNDBUF, &size_bytes, sizeof size_bytes), 0);
  return ends;
}

TEST_CASE("a reader that does not read costs lines, not time, and is told how many") {
  for (const auto& make : {narrow_pipe, narrow_socket}) {
    const auto [reader, writer] = make();
    log::direct_to(writer.get());
    constexpr size_t kLines = 1000;
    for (size_t i = 0; i < kLines; ++i) log::info("line", {{"end", "here"}});
    const std::string first = drained(reader.get());
    log::info("line", {{"end", "here"}});
    log::configure(log::Level::info, log::Format::json);
    for (size_t i = 0; i < kLines; ++i) log::info("again");
    const std::string second = drained(reader.get());
    log::info("last");
    log::configure(log::Level::info, log::Format::text);
    const std::string third = drained(reader.get());
    log::direct_to(STDERR_FILENO);

    const size_t kept = count_lines(first, " info line end=\"here\"");
    CHECK_GT(kept, 10);
    CHECK_LT(kept, kLines);
    const size_t dropped = kLines - kept;
    // A line of which the reader has a part is no dropped one: its rest comes with the next.
    const bool torn = !first.ends_with('\n');
    const std::string said = " warning log lines were dropped, nobody read them lines=" +
                             std::to_string(dropped - (torn ? 1 : 0)) + "\n";
    CHECK_MESSAGE(second.contains(said), second.substr(0, 400));
    CHECK(second.contains(" info line end=\"here\"\n"));
    CHECK(third.contains(
        "\"level\":\"warning\",\"message\":\"log lines were dropped, nobody read them\",\"lines\":"));
    CHECK(third.ends_with("\"level\":\"info\",\"message\":\"last\"}\n"));
    CHECK_EQ(::fcntl(writer.get(), F_GETFL) & O_NONBLOCK, 0);
  }
}

TEST_CASE("a line that is longer than a pipe has room for is finished when it is read") {
  const auto [reader, writer] = narrow_pipe();
  log::direct_to(writer.get());
  log::info("long", {{"text", std::string(10'000, 'x')}});
  std::string text = drained(reader.get());
  CHECK_LT(text.size(), 10'000);
  for (int i = 0; i < 4; ++i) {
    log::info("short");
    text += drained(reader.get());
  }
  log::direct_to(STDERR_FILENO);
  CHECK(text.contains("text=\"" + std::string(10'000, 'x') + "\"\n"));
  CHECK(text.ends_with(" info short\n"));
  CHECK(text.contains("lines were dropped"));
}

/// Whether a file that the child opens, under whatever number, stays empty while it logs.
static bool logs_past_own_files(int log_fd) {
  ::close_range(3, static_cast<unsigned>(log_fd) - 1, 0);
  ::close_range(static_cast<unsigned>(log_fd) + 1, ~0U, 0);
  std::vector<Fd> files;
  for (int i = 0; i < 16; ++i) files.push_back(sys::memfd("own").value());
  log::info("from the child");
  return std::ranges::all_of(files, [](const Fd& file) { return ::lseek(file.get(), 0, SEEK_END) == 0; });
}

TEST_CASE("a forked process that closes all it does not know logs to the same place, and nowhere else") {
  const auto [reader, writer] = sys::pipe().value();
  log::direct_to(writer.get());
  log::info("from the parent");
  const pid_t child = ::fork();
  REQUIRE_GE(child, 0);
  if (child == 0) ::_exit(logs_past_own_files(writer.get()) ? 0 : 1);
  int status = -1;
  ::waitpid(child, &status, 0);
  log::direct_to(STDERR_FILENO);
  CHECK_EQ(status, 0);
  const std::string text = drained(reader.get());
  CHECK(text.contains("from the parent\n"));
  CHECK(text.ends_with("from the child\n"));
}

TEST_CASE("a log that nobody can read any more is no error") {
  auto [reader, writer] = narrow_pipe();
  reader.reset();
  ::signal(SIGPIPE, SIG_IGN);
  log::direct_to(writer.get());
  log::info("to nobody");
  log::direct_to(STDERR_FILENO);
}

}  // namespace lambdo
