#include "agent/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <vector>

#include "base/syscalls.h"

namespace lambdo::agent {

/// A bomb of more processes than this is killed in several rounds, and its CPU time is seen in part.
static constexpr size_t kMaxProcesses = 65536;
static constexpr long long kKillTimeoutNs = 5'000'000'000;

void Usage::add(const rusage& usage) {
  const timeval total{usage.ru_utime.tv_sec + usage.ru_stime.tv_sec,
                      usage.ru_utime.tv_usec + usage.ru_stime.tv_usec};
  cpu_us += static_cast<uint64_t>(total.tv_sec) * 1'000'000 + static_cast<uint64_t>(total.tv_usec);
  max_rss_kb = std::max(max_rss_kb, static_cast<uint64_t>(usage.ru_maxrss));
}

struct ProcessStat {
  pid_t pid = 0;
  pid_t parent = 0;
  uint64_t cpu_ticks = 0;
};

/// Reads /proc/<pid>/stat (proc_pid_stat(5)). False where the process is gone.
static bool read_stat(int proc_fd, const char* pid, ProcessStat& stat) {
  char path[32];
  std::snprintf(path, sizeof path, "%.16s/stat", pid);
  const Fd file(::openat(proc_fd, path, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return false;
  char text[1024];
  const ssize_t count = ::read(file.get(), text, sizeof text - 1);
  if (count <= 0) return false;
  text[count] = '\0';
  // The name may hold anything, parentheses and spaces too; the last parenthesis ends it.
  const char* fields = std::strrchr(text, ')');
  if (fields == nullptr) return false;
  unsigned long long user = 0;
  unsigned long long system = 0;
  long long children_user = 0;
  long long children_system = 0;
  if (std::sscanf(fields, ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld", &stat.parent,
                  &user, &system, &children_user, &children_system) != 5) {
    return false;
  }
  stat.pid = static_cast<pid_t>(std::strtol(pid, nullptr, 10));
  stat.cpu_ticks = user + system + static_cast<uint64_t>(children_user + children_system);
  return true;
}

static std::vector<ProcessStat> list_processes() {
  std::vector<ProcessStat> processes;
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  if (!proc) return processes;
  while (const dirent* entry = ::readdir(proc.get())) {
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
    ProcessStat stat;
    if (read_stat(::dirfd(proc.get()), entry->d_name, stat)) processes.push_back(stat);
    if (processes.size() >= kMaxProcesses) break;
  }
  return processes;
}

/// Leaves the descendants of `ancestor`. A parent may be listed after its child, so rounds until nothing is
/// added.
static void keep_descendants(std::vector<ProcessStat>& processes, pid_t ancestor) {
  std::vector<pid_t> family = {ancestor};
  auto kept = processes.begin();
  for (bool grown = true; grown;) {
    const auto next = std::partition(kept, processes.end(), [&](const ProcessStat& process) {
      return std::ranges::find(family, process.parent) != family.end();
    });
    grown = next != kept;
    for (; kept != next; ++kept) family.push_back(kept->pid);
  }
  processes.erase(kept, processes.end());
}

Processes::Ended Processes::reap(Usage& usage) const {
  Ended ended;
  rusage used{};
  do {
    ended.pid = ::wait4(-1, &ended.status, WNOHANG | __WALL, &used);
  } while (ended.pid < 0 && errno == EINTR);
  if (ended.pid > 0) usage.add(used);
  return ended;
}

void Processes::kill() const {
  // kill(-1) spares the caller and PID 1. Outside a namespace of our own it would end every process of the
  // machine, so the flag given at the start is not trusted alone.
  if (scope_ != Scope::descendants) {
    if (::getpid() == 1 || ::getppid() == 1) ::kill(-1, SIGKILL);
    return;
  }
  // Only children: they are ours to reap, so their numbers cannot have passed to other processes meanwhile.
  // The children of what dies here become ours for the next round.
  const pid_t self = ::getpid();
  for (const ProcessStat& process : list_processes()) {
    if (process.parent == self) ::kill(process.pid, SIGKILL);
  }
}

bool Processes::kill_and_reap(Usage& usage, pid_t main, int& main_status) const {
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  const long long give_up_ns = sys::monotonic_ns() + kKillTimeoutNs;
  while (true) {
    const Ended ended = reap(usage);
    if (ended.pid < 0) return true;
    if (ended.pid > 0 && ended.pid == main) main_status = ended.status;
    if (ended.pid > 0) continue;
    if (sys::monotonic_ns() > give_up_ns) return false;
    kill();
    const timespec patience{0, 10'000'000};
    ::sigtimedwait(&child_signal, nullptr, &patience);
  }
}

uint64_t Processes::running_cpu_us() const {
  std::vector<ProcessStat> processes = list_processes();
  const pid_t self = ::getpid();
  if (scope_ == Scope::own_namespace) {
    std::erase_if(processes,
                  [&](const ProcessStat& process) { return process.pid == 1 || process.pid == self; });
  } else {
    keep_descendants(processes, self);
  }
  uint64_t ticks = 0;
  for (const ProcessStat& process : processes) ticks += process.cpu_ticks;
  return ticks * 1'000'000 / static_cast<uint64_t>(::sysconf(_SC_CLK_TCK));
}

}  // namespace lambdo::agent
