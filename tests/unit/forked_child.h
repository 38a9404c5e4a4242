#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/syscalls.h"

/// For tests of what a process cannot take back, such as a seccomp filter: they run in a child.
namespace lambdo::test {

/// How a child process ended, and what it said.
struct ChildEnd {
  int status = 0;  ///< wait(2)
  std::string problems;
};

/// Runs `body` in a child. It gives what went wrong, a line each; empty for nothing.
template <typename Body>
ChildEnd run_in_child(Body body) {
  auto [reader, writer] = sys::pipe().value();
  const pid_t child = ::fork();
  if (child < 0) return {.status = -1, .problems = "fork failed with error " + std::to_string(errno) + "\n"};
  if (child == 0) {
    const std::string problems = body();
    (void)sys::write_all(writer.get(), problems);
    ::_exit(problems.empty() ? 0 : 1);
  }
  writer.reset();
  ChildEnd end;
  ::waitpid(child, &end.status, 0);
  char text[4096];
  const ssize_t count = ::read(reader.get(), text, sizeof text);
  if (count > 0) end.problems.assign(text, static_cast<size_t>(count));
  return end;
}

/// What went wrong in a child that runs `body`; empty for nothing.
template <typename Body>
std::string in_child(Body body) {
  const ChildEnd end = run_in_child(body);
  if (!end.problems.empty() || end.status == 0) return end.problems;
  if (WIFEXITED(end.status)) return "the child ended with status " + std::to_string(WEXITSTATUS(end.status));
  return "the child died of signal " + std::to_string(WTERMSIG(end.status));
}

/// A line where a call did not fail with this error.
inline std::string must_fail(const char* what, long result, int wanted_errno) {
  if (result == -1 && errno == wanted_errno) return {};
  return std::string(what) + " gave " + std::to_string(result) + " with error " + std::to_string(errno) +
         "\n";
}

inline std::string must_work(const char* what, bool worked) {
  return worked ? std::string() : std::string(what) + " failed with error " + std::to_string(errno) + "\n";
}

}  // namespace lambdo::test
