#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace lambdo::log {

/// Where log lines go. Never waits for a reader: a line that a pipe, terminal or socket has no room for is
/// refused. Writing to a file may wait for the disk.
class Output {
 public:
  /// `fd` stays open as long as this lives, and keeps its flags: other processes share them.
  explicit Output(int fd);
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output();

  /// False where nothing of the line was taken. A line that was taken in part is finished before the next
  /// one.
  bool put(std::string_view line);

 private:
  enum class Kind {
    file,    ///< never without room
    own,     ///< `own_`: the same pipe or terminal, opened again without waiting
    socket,  ///< can be told not to wait with each call
    polled,  ///< asked for room before
  };

  size_t write_some(std::string_view text);
  [[nodiscard]] bool forked() const;

  int fd_;
  Kind kind_ = Kind::file;
  Fd own_;
  pid_t owner_;  ///< the process in which `own_` is ours
  std::string unfinished_;
};

}  // namespace lambdo::log
