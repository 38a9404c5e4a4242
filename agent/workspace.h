#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::agent {

/// The folder that a run's files are written below.
class Workspace {
 public:
  /// `path` must be an existing folder.
  static Result<Workspace> open(const std::string& path);

  /// invalid_argument where `name` is no relative path of plain components: absolute, empty, "." or ".." or
  /// empty components (so a slash at the end, too), NUL, components over 255 or names over 4095 bytes.
  static Result<> check_name(std::string_view name);

  /// Writes one file, creating its folders; an existing file is replaced. Mode 0755 where `content` starts
  /// with "#!", else 0644. No symbolic link is followed, at any component. invalid_argument for a name as
  /// above or one that meets something else than a folder or file; resource_exhausted where there is no
  /// space. The message names the file.
  Result<> write(std::string_view name, std::string_view content) const;

  /// Makes it the current directory of the process.
  Result<> enter() const;

 private:
  explicit Workspace(Fd folder) : folder_(std::move(folder)) {}

  Fd folder_;
};

}  // namespace lambdo::agent
