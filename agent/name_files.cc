#include "agent/name_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/syscalls.h"

namespace lambdo::agent {

static constexpr char kLocalhost[] = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";

std::string hosts_text(const std::string& hostname, const InterfacePlan* interface) {
  std::string text = kLocalhost;
  if (hostname.empty()) return text;
  std::string names = " " + hostname;
  const size_t dot = hostname.find('.');
  if (dot != std::string::npos) names += " " + hostname.substr(0, dot);
  if (interface == nullptr || interface->addresses.empty()) return text + "127.0.1.1" + names + "\n";
  for (const InterfaceAddress& address : interface->addresses) {
    text += address.subnet.address.text() + names + "\n";
  }
  return text;
}

std::string resolv_conf_text(const InterfacePlan& interface) {
  std::string text;
  for (const IpAddress& server : interface.dns_servers) text += "nameserver " + server.text() + "\n";
  if (interface.dns_search.empty()) return text;
  text += "search";
  for (const std::string& domain : interface.dns_search) text += " " + domain;
  return text + "\n";
}

/// Whether the file of that name can be mounted over.
static bool can_be_covered(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) < 0 || !S_ISREG(status.st_mode)) return false;
  struct statfs system{};
  // Kernels refuse to mount over a process's files, such as /proc/net/pnp.
  return ::statfs(path.c_str(), &system) == 0 && system.f_type != PROC_SUPER_MAGIC;
}

void prepare_name_files(const NameFolders& folders) {
  (void)sys::mkdirs(folders.etc, 0755);
  const std::pair<const char*, std::string_view> files[] = {
      {"/resolv.conf", ""}, {"/hosts", kLocalhost}, {"/hostname", ""}};
  for (const auto& [name, content] : files) {
    const std::string path = folders.etc + name;
    if (can_be_covered(path)) continue;
    struct stat status{};
    if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) ::unlink(path.c_str());
    const auto file = sys::open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    if (file) (void)sys::write_all(file->get(), content);
  }
}

/// Mounts `own` over `path`, unless that has been done.
static Result<> cover(const std::string& path, const std::string& own, const struct stat& own_status) {
  struct stat status{};
  if (::stat(path.c_str(), &status) < 0) {
    return fail_errno(path + ": the image has none, and its root is read-only");
  }
  if (status.st_dev == own_status.st_dev && status.st_ino == own_status.st_ino) return {};
  if (::mount(own.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) < 0) {
    return fail_errno("mount over " + path);
  }
  constexpr unsigned long kFlags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount(nullptr, path.c_str(), nullptr, kFlags, nullptr) < 0) {
    return fail_errno("make " + path + " read-only");
  }
  return {};
}

static Result<> write_one(const NameFolders& folders, const std::string& name, std::string_view content) {
  const std::string own = folders.own + name;
  const std::string path = folders.etc + name;
  const Fd file = TRY(sys::open(own, O_WRONLY | O_CREAT | O_NOFOLLOW, 0644));
  // Never shorter than either content in between: a program that reads meanwhile gets some of both at worst.
  if (::pwrite(file.get(), content.data(), content.size(), 0) != static_cast<ssize_t>(content.size()) ||
      ::ftruncate(file.get(), static_cast<off_t>(content.size())) < 0 || ::fchmod(file.get(), 0644) < 0) {
    return fail_errno("write " + own);
  }
  struct stat status{};
  if (::fstat(file.get(), &status) < 0) return fail_errno("stat " + own);
  return cover(path, own, status);
}

Result<> write_name_files(const NameFolders& folders, const std::string& hostname,
                          const InterfacePlan* interface) {
  TRY(sys::mkdirs(folders.own, 0755));
  TRY(write_one(folders, "/hosts", hosts_text(hostname, interface)));
  TRY(write_one(folders, "/hostname", hostname + "\n"));
  if (interface == nullptr) return {};
  return write_one(folders, "/resolv.conf", resolv_conf_text(*interface));
}

}  // namespace lambdo::agent
