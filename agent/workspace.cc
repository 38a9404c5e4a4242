#include "agent/workspace.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "base/syscalls.h"

namespace lambdo::agent {

static constexpr size_t kShownNameBytes = 200;

static std::string shown(std::string_view name) {
  std::string text = "file \"";
  for (const char c : name.substr(0, kShownNameBytes)) text += c == '\0' ? '?' : c;
  if (name.size() > kShownNameBytes) text += "...";
  return text + '"';
}

static std::unexpected<Error> refuse(std::string_view name, std::string_view why) {
  return fail(Code::invalid_argument, shown(name) + ' ' + std::string(why));
}

Result<> Workspace::check_name(std::string_view name) {
  if (name.empty()) return refuse(name, "has an empty name");
  if (name.find('\0') != std::string_view::npos) return refuse(name, "has a NUL in its name");
  if (name.size() >= PATH_MAX) return refuse(name, "has a name longer than 4095 bytes");
  if (name.front() == '/') return refuse(name, "is an absolute path; name it relative to the workspace");
  if (name.back() == '/') return refuse(name, "ends in a slash; name a file, its folders are created");
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view component = name.substr(begin, end - begin);
    if (component == "..") return refuse(name, "leaves its folder with \"..\"");
    if (component.empty() || component == ".") return refuse(name, "has an empty or \".\" component");
    if (component.size() > NAME_MAX) return refuse(name, "has a component longer than 255 bytes");
    begin = end + 1;
  }
  return {};
}

/// What a client can mend (a name that meets a link, a file as a folder) apart from what the guest lacks.
static std::unexpected<Error> fail_file(std::string_view name, int os_errno) {
  Error error = errno_error(os_errno, shown(name));
  switch (os_errno) {
    case ELOOP:
    case ENOTDIR:
    case EISDIR:
    case ENXIO:
    case ENAMETOOLONG:
      error.code = Code::invalid_argument;
      break;
    case EDQUOT:
    case EFBIG:
      error.code = Code::resource_exhausted;
      break;
    default:
      break;
  }
  return std::unexpected(std::move(error));
}

Result<Workspace> Workspace::open(const std::string& path) {
  return Workspace(TRY(sys::open(path, O_RDONLY | O_DIRECTORY)));
}

Result<> Workspace::enter() const {
  if (::fchdir(folder_.get()) < 0) return fail_errno("fchdir to the workspace");
  return {};
}

// Every component is opened relative to the one before with O_NOFOLLOW, and check_name() has let no ".."
// through. That is what openat2() with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS asks of the kernel, and folders
// must be made one by one anyway.
Result<> Workspace::write(std::string_view name, std::string_view content) const {
  TRY(check_name(name));
  Fd parent;
  const auto parent_fd = [&] { return parent.valid() ? parent.get() : folder_.get(); };
  std::string_view rest = name;
  for (size_t slash = rest.find('/'); slash != std::string_view::npos; slash = rest.find('/')) {
    const std::string component(rest.substr(0, slash));
    rest.remove_prefix(slash + 1);
    if (::mkdirat(parent_fd(), component.c_str(), 0755) < 0 && errno != EEXIST) return fail_file(name, errno);
    Fd next(::openat(parent_fd(), component.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid()) return fail_file(name, errno);
    parent = std::move(next);
  }
  const mode_t mode = content.starts_with("#!") ? 0755 : 0644;
  // O_NONBLOCK: a FIFO of that name must not stop us.
  Fd file(::openat(parent_fd(), std::string(rest).c_str(),
                   O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, mode));
  if (!file.valid()) return fail_file(name, errno);
  const Result<> written = sys::write_all(file.get(), content);
  if (!written) return fail_file(name, written.error().os_errno);
  return {};
}

}  // namespace lambdo::agent
