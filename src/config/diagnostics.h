#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lambdo::config {

enum class Severity { error, warning };

/// One problem of a configuration file.
struct Diagnostic {
  Severity severity;
  int line;          ///< 1-based
  std::string text;  ///< "file:line: key.path[0].sub: what is wrong; what to do"
};

/// Collects the problems of one file, so that a person sees all of them at once.
class Diagnostics {
 public:
  explicit Diagnostics(std::string file_name) : file_name_(std::move(file_name)) {}

  /// `key` may be empty where the problem is the file's.
  void error(int line, std::string_view key, std::string_view message);
  void warning(int line, std::string_view key, std::string_view message);
  /// An error after which nothing else is worth telling: the others are dropped, later ones ignored.
  void fatal(int line, std::string_view message);

  [[nodiscard]] bool has_errors() const { return has_errors_; }
  /// By line, and in the order they were found within one.
  [[nodiscard]] std::vector<Diagnostic> take();

 private:
  void add(Severity severity, int line, std::string_view key, std::string_view message);

  static constexpr size_t kMaxCount = 100;
  std::string file_name_;
  std::vector<Diagnostic> found_;
  size_t not_shown_ = 0;
  bool has_errors_ = false;
  bool closed_ = false;
};

/// `text` for a message: in quotes, escaped, cut to a length that fits a line.
std::string quoted(std::string_view text);

/// The candidate that `text` was probably meant to be, empty where none is near.
std::string_view nearest(std::string_view text, const std::vector<std::string_view>& candidates);

}  // namespace lambdo::config
