#include "namespace/cgroup_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/fd.h"
#include "base/text.h"

namespace lambdo::namespaces {

Result<std::string> read_control(int folder, const std::string& path) {
  const Fd fd(::openat(folder, path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("open " + path);
  constexpr size_t kMaxBytes = 64 << 10;
  std::string content;
  char buffer[4096];
  while (content.size() < kMaxBytes) {
    const ssize_t count = ::read(fd.get(), buffer, sizeof buffer);
    if (count < 0) return fail_errno("read " + path);
    if (count == 0) break;
    content.append(buffer, static_cast<size_t>(count));
  }
  return content;
}

Result<> write_control(int folder, const std::string& path, std::string_view value) {
  const Fd fd(::openat(folder, path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("open " + path);
  if (::write(fd.get(), value.data(), value.size()) < 0) {
    return fail_errno("write " + std::string(value) + " to " + path);
  }
  return {};
}

std::optional<uint64_t> keyed_number(std::string_view content, std::string_view key) {
  while (!content.empty()) {
    const std::string_view line = content.substr(0, content.find('\n'));
    content.remove_prefix(std::min(line.size() + 1, content.size()));
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ') {
      return parse_uint(line.substr(key.size() + 1));
    }
  }
  return std::nullopt;
}

uint64_t read_number(int folder, const std::string& path) {
  const Result<std::string> content = read_control(folder, path);
  if (!content) return 0;
  const std::string_view text = *content;
  return parse_uint(text.substr(0, text.find('\n'))).value_or(0);
}

}  // namespace lambdo::namespaces
