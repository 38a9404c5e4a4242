#include "doctor/machine_checks.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <thread>

#include "base/syscalls.h"
#include "base/text.h"

namespace lambdo::doctor {

static constexpr std::array<std::string_view, 3> kControllers = {"memory", "pids", "cpu"};

std::string kernel_release() {
  utsname names{};
  return ::uname(&names) == 0 ? names.release : "";
}

/// The number before the first other character; nullopt where there is none.
static std::optional<uint64_t> leading_number(std::string_view text) {
  return parse_uint(text.substr(0, text.find_first_not_of("0123456789")));
}

Finding kernel_finding(std::string_view release) {
  const auto parts = split_nonempty(release, '.');
  const auto major = parts.empty() ? std::nullopt : leading_number(parts[0]);
  const auto minor = parts.size() < 2 ? std::nullopt : leading_number(parts[1]);
  const std::string found = "Linux " + std::string(release);
  if (!major || !minor)
    return {Grade::warning, "kernel", found + ", of unknown version", "use Linux 6.1 or newer"};
  if (*major > 6 || (*major == 6 && *minor >= 1)) return {Grade::ok, "kernel", found, ""};
  return {Grade::failure, "kernel", found + " is older than 6.1",
          "install Linux 6.1 or newer (Debian 12 has it); io_uring before it lacks what the server needs"};
}

Finding kvm_finding(const Result<kvm::ProbeReport>& report) {
  if (!report) {
    return {Grade::warning, "kvm", report.error().message,
            "another hypervisor may hold the processor's extensions; look at dmesg for messages of kvm"};
  }
  return {report->usable() ? Grade::ok : Grade::warning, "kvm", report->reason, report->remedy};
}

CgroupLayout parse_cgroup_layout(std::string_view mounts, std::string_view own_cgroups) {
  CgroupLayout layout;
  std::string_view own_v2 = "/";
  for (const std::string_view line : split_nonempty(own_cgroups, '\n')) {
    if (line.starts_with("0::")) own_v2 = line.substr(3);
  }
  for (const std::string_view line : split_nonempty(mounts, '\n')) {
    const auto fields = split_nonempty(line, ' ');  // device, mount point, type, options (fstab(5))
    if (fields.size() < 4) continue;
    if (fields[2] == "cgroup2") {
      layout.v2_path = std::string(fields[1]) + (own_v2 == "/" ? "" : std::string(own_v2));
    } else if (fields[2] == "cgroup") {
      const auto options = split_nonempty(fields[3], ',');
      for (const std::string_view controller : kControllers) {
        if (std::ranges::find(options, controller) != options.end())
          layout.v1_mounts.emplace(controller, fields[1]);
      }
    }
  }
  return layout;
}

CgroupLayout read_cgroup_layout() {
  const auto mounts = sys::read_file("/proc/self/mounts");
  const auto own = sys::read_file("/proc/self/cgroup");
  CgroupLayout layout = parse_cgroup_layout(mounts.value_or(""), own.value_or(""));
  auto note_unwritable = [&](const std::string& folder) {
    if (::access(folder.c_str(), W_OK) != 0) layout.not_writable.push_back(folder);
  };
  if (!layout.v2_path.empty()) {
    const std::string controllers = sys::read_file(layout.v2_path + "/cgroup.controllers").value_or("");
    for (const std::string_view line : split_nonempty(controllers, '\n')) {
      for (const std::string_view name : split_nonempty(line, ' ')) layout.v2_controllers.emplace_back(name);
    }
    if (std::ranges::find_first_of(layout.v2_controllers, kControllers) != layout.v2_controllers.end()) {
      note_unwritable(layout.v2_path);
    }
  }
  for (const auto& [controller, folder] : layout.v1_mounts) note_unwritable(folder);
  return layout;
}

Finding cgroup_finding(const CgroupLayout& layout) {
  std::vector<std::string> missing_v2;
  std::vector<std::string> missing;
  for (const std::string_view controller : kControllers) {
    const bool in_v2 = std::ranges::find(layout.v2_controllers, controller) != layout.v2_controllers.end();
    if (!in_v2) missing_v2.emplace_back(controller);
    if (!in_v2 && !layout.v1_mounts.contains(std::string(controller))) missing.emplace_back(controller);
  }
  if (!missing.empty()) {
    const std::string where = layout.v2_path.empty() ? "no v2 hierarchy" : layout.v2_path;
    return {
        Grade::warning, "cgroups", "controllers not available: " + joined(missing, ", ") + " (" + where + ")",
        "delegate memory, pids and cpu to the server (Delegate=yes in its systemd unit), or run it as root"};
  }
  const std::string found =
      missing_v2.empty() ? "v2 at " + layout.v2_path : "v1 at " + layout.v1_mounts.begin()->second;
  if (!layout.not_writable.empty()) {
    return {Grade::warning, "cgroups",
            found + ", but this user may not write " + joined(layout.not_writable, ", "),
            "delegate the cgroup to the server's user (Delegate=yes in its systemd unit), or run it as root"};
  }
  return {Grade::ok, "cgroups", found + ", with memory, pids and cpu", ""};
}

Finding tun_finding(const std::string& device) {
  const auto fd = sys::open(device, O_RDWR);
  if (fd) return {Grade::ok, "tun", device + " can be opened", ""};
  return {Grade::warning, "tun", fd.error().message,
          "only guests with a network need it: modprobe tun, and allow the device in the container"};
}

Finding forwarding_finding(const std::string& path, IpVersion version, bool needed) {
  const bool ipv6 = version == IpVersion::v6;
  const std::string name = ipv6 ? "IPv6 forwarding" : "forwarding";
  const std::string setting = ipv6 ? "net.ipv6.conf.all.forwarding" : "net.ipv4.ip_forward";
  const auto text = sys::read_file(path);
  if (text && text->starts_with('1')) {
    return {Grade::ok, name, "the machine forwards " + std::string(ipv6 ? "IPv6" : "IPv4") + " packets", ""};
  }
  const Grade grade = needed ? Grade::failure : Grade::warning;
  if (!text && ipv6) {
    return {grade, name, text.error().message,
            "network.ipv6 needs a kernel with IPv6; without it guests have IPv4 alone"};
  }
  std::string remedy = std::string(needed ? "this configuration gives guests a network, which needs it"
                                          : "only guests with a network need it") +
                       ": sysctl -w " + setting + "=1, and a file in /etc/sysctl.d to keep it";
  if (ipv6) remedy += "; an interface whose address is from router advertisements needs accept_ra=2 then";
  return {grade, name, text ? setting + " is " + text->substr(0, 1) : text.error().message, remedy};
}

static std::optional<uint64_t> meminfo_kib(std::string_view meminfo, std::string_view name) {
  for (const std::string_view line : split_nonempty(meminfo, '\n')) {
    const auto words = split_nonempty(line, ' ');
    if (words.size() >= 2 && words[0] == name) return parse_uint(words[1]);
  }
  return std::nullopt;
}

Finding memory_finding() {
  const std::string meminfo = sys::read_file("/proc/meminfo").value_or("");
  const uint64_t total_mib = meminfo_kib(meminfo, "MemTotal:").value_or(0) / 1024;
  const uint64_t available_mib = meminfo_kib(meminfo, "MemAvailable:").value_or(0) / 1024;
  const unsigned cores = std::thread::hardware_concurrency();
  const std::string found = std::to_string(available_mib) + " of " + std::to_string(total_mib) +
                            " MiB memory available, " + std::to_string(cores) + " core(s)";
  if (available_mib >= 1024) return {Grade::ok, "resources", found, ""};
  return {Grade::warning, "resources", found,
          "free some memory, or lower limits.default.memory_mb and runner.max_running in the configuration"};
}

Finding open_files_finding() {
  static constexpr rlim_t kWanted = 8192;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return {Grade::warning, "open files", "limit unknown", "see ulimit -n"};
  const std::string found =
      "limit " + std::to_string(limit.rlim_cur) + ", may be raised to " + std::to_string(limit.rlim_max);
  if (limit.rlim_cur >= kWanted) return {Grade::ok, "open files", found, ""};
  return {Grade::warning, "open files", found + "; 4096 connections need about " + std::to_string(kWanted),
          "ulimit -n 65536 before the start (LimitNOFILE=65536 in a systemd unit), or lower "
          "http.max_connections"};
}

}  // namespace lambdo::doctor
