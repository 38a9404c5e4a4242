#include "sandbox_fixture.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/syscalls.h"
#include "namespace/cgroup.h"
#include "namespace/state_directory.h"
#include "test.h"

namespace lambdo::namespaces {

namespace fs = std::filesystem;

bool is_root(const char* test) {
  if (::geteuid() == 0) return true;
  std::fprintf(stderr, "SKIPPED: '%s' needs root\n", test);
  return false;
}

TemporaryFolder::TemporaryFolder() : path_(fs::temp_directory_path() / "lambdo-test-XXXXXX") {
  REQUIRE(::mkdtemp(path_.data()) != nullptr);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string probe_path() {
  const char* path = std::getenv("LAMBDO_TEST_PROBE");
  REQUIRE_MESSAGE(path != nullptr, "run through meson test: LAMBDO_TEST_PROBE is not set");
  return path;
}

void make_image(const std::string& folder) {
  for (const char* name : {"proc", "dev", "tmp", "workspace", ".lambdo", "etc"}) {
    fs::create_directories(folder + "/" + name);
  }
  std::ofstream(folder + "/.lambdo/agent").flush();
  std::ofstream(folder + "/etc/image-file") << "of the image";
}

Sandboxes::Sandboxes() {
  make_image(folder_.path() + "/image");
  options_.state_dir = folder_.path() + "/state";
  options_.max_sandboxes = 64;
  options_.first_uid = kFirstUid;
  Result<LauncherProcess> process = Launcher::start_process(options_);
  REQUIRE_MESSAGE(process, process.error().message);
  launcher_pid_ = process->process.pid;
  auto created = reactor::Reactor::create();
  REQUIRE(created);
  reactor_ = std::move(*created);
  launcher_ = std::make_unique<Launcher>(*reactor_, std::move(*process));
  launcher_->observe(this);
}

Sandboxes::~Sandboxes() {
  stop();
}

void Sandboxes::stop() {
  if (!launcher_) return;
  reactor_->run(launcher_->stop());
  launcher_.reset();
}

SandboxSpec Sandboxes::spec() const {
  return {.name = "probe",
          .rootfs = folder_.path() + "/image",
          .agent_path = probe_path(),
          .environment = {{"PATH", "/bin"}, {"GREETING", "good day"}},
          .memory_mb = 64,
          .processes = 32,
          .disk_mb = 8};
}

std::string Probe::ask(std::string_view command) const {
  constexpr int kTimeoutMs = 20'000;
  if (::send(socket.get(), command.data(), command.size(), MSG_NOSIGNAL) < 0) return "";
  pollfd ready{.fd = socket.get(), .events = POLLIN};
  if (::poll(&ready, 1, kTimeoutMs) != 1) return "timeout";
  std::string answer(40'000, '\0');
  const ssize_t count = ::recv(socket.get(), answer.data(), answer.size(), 0);
  answer.resize(count > 0 ? static_cast<size_t>(count - 1) : 0);
  return answer;
}

reactor::Task<Probe> start_probe(Sandboxes& sandboxes, SandboxSpec spec) {
  const Result<uint32_t> kind = co_await sandboxes.launcher().define(std::move(spec));
  REQUIRE_MESSAGE(kind, kind.error().message);
  auto sockets = sys::socketpair(SOCK_SEQPACKET);
  REQUIRE(sockets);
  const Result<SandboxId> id = co_await sandboxes.launcher().launch(*kind, std::move(sockets->second));
  REQUIRE_MESSAGE(id, id.error().message);
  co_return Probe{.id = *id, .socket = std::move(sockets->first)};
}

bool eventually(const std::function<bool()>& condition, int timeout_ms) {
  const long long deadline_ns = sys::monotonic_ns() + timeout_ms * 1'000'000LL;
  while (!condition()) {
    if (sys::monotonic_ns() > deadline_ns) return false;
    ::usleep(2000);
  }
  return true;
}

bool process_exists(pid_t pid) {
  return ::kill(pid, 0) == 0 || errno != ESRCH;
}

static std::vector<pid_t> processes_where(const std::function<bool(const std::string&, pid_t)>& wanted) {
  std::vector<pid_t> pids;
  for (const std::string& name : sys::list_directory("/proc").value_or(std::vector<std::string>())) {
    const auto pid = static_cast<pid_t>(std::atoi(name.c_str()));
    if (pid > 0 && wanted("/proc/" + name, pid)) pids.push_back(pid);
  }
  return pids;
}

std::vector<pid_t> processes_with_parent(pid_t parent) {
  return processes_where([parent](const std::string& folder, pid_t) {
    const std::string status = sys::read_file(folder + "/status").value_or("");
    return status.find("PPid:\t" + std::to_string(parent) + "\n") != std::string::npos;
  });
}

std::vector<pid_t> processes_with_uid(uid_t first, uid_t last) {
  return processes_where([=](const std::string& folder, pid_t) {
    const std::string status = sys::read_file(folder + "/status").value_or("");
    const size_t line = status.find("Uid:\t");
    if (line == std::string::npos) return false;
    // Dead, and adopted by a parent that is not ours and reaps when it likes.
    if (status.find("State:\tZ") != std::string::npos && status.find("PPid:\t1\n") != std::string::npos)
      return false;
    const auto uid = static_cast<uid_t>(std::atol(status.c_str() + line + 5));
    return uid >= first && uid <= last;
  });
}

std::vector<std::string> cgroup_folders(const LauncherOptions& options) {
  const std::string name = cgroup_folder_name(fs::canonical(options.state_dir));
  std::vector<std::string> folders;
  for (const CgroupMount& mount : parse_cgroup_mounts(sys::read_file("/proc/self/mountinfo").value_or(""))) {
    if (sys::exists(mount.mount_point + "/" + name)) folders.push_back(mount.mount_point + "/" + name);
  }
  return folders;
}

size_t open_descriptors(pid_t pid) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  const auto names = sys::list_directory(folder).value_or(std::vector<std::string>());
  return static_cast<size_t>(std::ranges::count_if(names, [&](const std::string& name) {
    std::error_code error;
    const auto target = std::filesystem::read_symlink(folder + "/" + name, error);
    return !target.string().starts_with("net:[");
  }));
}

}  // namespace lambdo::namespaces
