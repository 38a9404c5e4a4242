#include "server/image_user.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/fd.h"
#include "base/syscalls.h"
#include "base/text.h"

namespace lambdo::server {

namespace {

constexpr size_t kMaxUserFileBytes = 1 << 20;
constexpr uint64_t kMaxId = 0xffff'fffe;  // the next one means none

std::optional<uint32_t> parse_id(std::string_view text) {
  const auto number = parse_uint(text);
  if (!number || *number > kMaxId) return std::nullopt;
  return static_cast<uint32_t>(*number);
}

/// The fields of the first line that has `wanted` in the field with this index (passwd(5), group(5)).
std::vector<std::string_view> find_line(std::string_view file, size_t index, std::string_view wanted) {
  while (!file.empty()) {
    const size_t end = std::min(file.find('\n'), file.size());
    std::string_view line = file.substr(0, end);
    file.remove_prefix(std::min(end + 1, file.size()));
    std::vector<std::string_view> fields;
    for (size_t colon = 0; colon != std::string_view::npos;) {
      colon = line.find(':');
      fields.push_back(line.substr(0, colon));
      line.remove_prefix(colon == std::string_view::npos ? line.size() : colon + 1);
    }
    if (fields.size() > index && fields[index] == wanted) return fields;
  }
  return {};
}

constexpr size_t kName = 0;
constexpr size_t kId = 2;
constexpr size_t kPrimaryGroup = 3;  // of passwd

std::optional<uint32_t> field_id(const std::vector<std::string_view>& fields, size_t index) {
  return fields.size() > index ? parse_id(fields[index]) : std::nullopt;
}

std::unexpected<Error> unknown(std::string_view kind, std::string_view name, std::string_view file) {
  return fail(Code::invalid_argument, "the image is to run as " + std::string(kind) + " \"" +
                                          std::string(name) + "\", which its " + std::string(file) +
                                          " does not have");
}

}  // namespace

bool needs_user_files(std::string_view user) {
  const size_t colon = user.find(':');
  const std::string_view name = user.substr(0, colon);
  if (name.empty() || name == "root" || name == "0") return false;
  return !parse_id(name) || colon == std::string_view::npos || !parse_id(user.substr(colon + 1));
}

Result<engine::StepUser> resolve_user(std::string_view user, std::string_view passwd,
                                      std::string_view group) {
  const size_t colon = user.find(':');
  const std::string_view name = user.substr(0, colon);
  auto uid = parse_id(name);
  const auto line = find_line(passwd, uid ? kId : kName, name);
  if (!uid) uid = field_id(line, kId);
  if (name.empty() || name == "root" || uid == 0) return engine::StepUser{};
  if (!uid) return unknown("user", name, "/etc/passwd");

  std::optional<uint32_t> gid;
  if (colon == std::string_view::npos) {
    gid = field_id(line, kPrimaryGroup).value_or(*uid);
  } else {
    const std::string_view group_name = user.substr(colon + 1);
    gid = parse_id(group_name);
    if (!gid) gid = field_id(find_line(group, kName, group_name), kId);
    if (!gid) return unknown("group", group_name, "/etc/group");
  }
  return engine::StepUser{*uid, *gid == 0 ? *uid : *gid};
}

Result<std::string> read_in_rootfs(const std::string& rootfs, const std::string& path) {
  const Fd root = TRY(sys::open(rootfs, O_PATH | O_DIRECTORY));
  struct open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;  // a pipe under that name must not keep us
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const Fd file(static_cast<int>(::syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how)));
  if (!file.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) return std::string();
    return fail_errno("open " + path + " of the image");
  }
  return sys::read_file("/proc/self/fd/" + std::to_string(file.get()), kMaxUserFileBytes);
}

std::vector<std::pair<std::string, std::string>> step_environment(const image::ImageConfig& image,
                                                                  const engine::Language& language) {
  std::vector<std::pair<std::string, std::string>> variables;
  const auto set = [&](std::string_view name, std::string_view value) {
    const auto same = std::ranges::find(
        variables, name, [](const auto& variable) -> std::string_view { return variable.first; });
    if (same != variables.end()) {
      same->second = value;
    } else {
      variables.emplace_back(name, value);
    }
  };
  set("HOME", "/tmp");
  if (!image.working_dir.empty()) set("LAMBDO_IMAGE_WORKDIR", image.working_dir);
  for (const std::string_view variable : image.env) {
    const size_t equals = variable.find('=');
    if (equals == std::string_view::npos || equals == 0) continue;
    set(variable.substr(0, equals), variable.substr(equals + 1));
  }
  for (const auto& [name, value] : language.environment) set(name, value);
  return variables;
}

}  // namespace lambdo::server
