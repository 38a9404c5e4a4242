#include "namespace/launcher_state.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/syscalls.h"
#include "base/text.h"
#include "namespace/seccomp_filter.h"

namespace lambdo::namespaces {

namespace {

constexpr size_t kMaxSpecs = 512;
constexpr size_t kMaxOutputBytes = 1024;

/// What a sandbox wrote, up to a limit and with nothing that would confuse a terminal or a log.
std::string printable_output(const Fd& pipe) {
  char buffer[kMaxOutputBytes];
  const ssize_t count = ::read(pipe.get(), buffer, sizeof buffer);
  std::string text(buffer, static_cast<size_t>(std::max<ssize_t>(count, 0)));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& byte : text) {
    const auto code = static_cast<unsigned char>(byte);
    if (code == '\n') byte = ';';
    if (code != '\n' && (code < 0x20 || code >= 0x7f)) byte = '?';
  }
  return text;
}

std::vector<pid_t> children_of(pid_t pid) {
  const std::string task = "/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children";
  std::vector<pid_t> children;
  const Result<std::string> content = sys::read_file(task);
  if (!content) return children;
  for (size_t start = 0; start < content->size();) {
    const size_t end = std::min(content->find(' ', start), content->size());
    const auto child =
        static_cast<pid_t>(parse_uint(std::string_view(*content).substr(start, end - start)).value_or(0));
    if (child > 1) children.push_back(child);
    start = end + 1;
  }
  return children;
}

}  // namespace

Result<LauncherState> LauncherState::create(const LauncherOptions& options, const std::string& state_name) {
  LauncherState state;
  state.options_ = options;
  state.null_ = TRY(sys::open("/dev/null", O_RDWR));
  state.seccomp_ = TRY(compile_seccomp_filter());
  state.cgroups_ = TRY(CgroupTree::open(state_name, state.warnings_));
  constexpr int kLeftoversTimeoutMs = 5000;
  TRY(state.cgroups_.remove_leftovers(kLeftoversTimeoutMs));
  Result<ImageMounts> image_mounts = ImageMounts::enter(options.bwrap_path);
  if (!image_mounts) {
    state.cgroups_.remove();
    return std::unexpected(std::move(image_mounts).error());
  }
  state.image_mounts_ = std::move(*image_mounts);
  Result<NetworkNamespaces> networks = NetworkNamespaces::open();
  if (!networks) {
    state.cgroups_.remove();
    return std::unexpected(std::move(networks).error().with_code(Code::unavailable));
  }
  state.networks_ = std::move(*networks);
  for (uint32_t slot = 0; slot < options.max_sandboxes; ++slot) state.free_slots_.push_back(slot);

  state.own_uids_ = state.image_mounts_->privileged() && ::geteuid() == 0;
  if (!state.own_uids_) {
    state.warnings_.emplace_back(
        "sandboxes share the server's uid and groups: run the server as root to separate them");
  }
  return state;
}

Result<uint64_t> LauncherState::define(const SandboxSpec& spec) {
  if (specs_.size() >= kMaxSpecs) {
    return fail(Code::resource_exhausted, "more than " + std::to_string(kMaxSpecs) + " kinds of sandboxes");
  }
  for (const std::string& path : {spec.rootfs, spec.agent_path}) {
    if (!path.starts_with('/')) return fail(Code::invalid_argument, "path '" + path + "' is not absolute");
  }
  const std::string image = TRY(image_mounts_->add_image(
      spec.rootfs, spec.agent_path, spec.networked ? std::optional(spec.resolver_file) : std::nullopt));
  specs_.push_back(std::make_unique<Spec>(
      Spec{.values = spec, .command = BwrapCommand(options_.bwrap_path, image, spec)}));
  return specs_.size() - 1;
}

Result<LauncherState::Sandbox*> LauncherState::find(SandboxId id) {
  const auto found = sandboxes_.find(id);
  if (found == sandboxes_.end() || found->second.destroying) {
    return fail(Code::not_found, "no sandbox " + std::to_string(id));
  }
  return &found->second;
}

Result<> LauncherState::launch(uint64_t spec_index, SandboxId id, Fd agent_socket, Fd network) {
  if (spec_index >= specs_.size()) {
    return fail(Code::not_found, "no kind of sandbox " + std::to_string(spec_index));
  }
  if (sandboxes_.contains(id))
    return fail(Code::invalid_argument, "sandbox " + std::to_string(id) + " exists");
  if (free_slots_.empty()) {
    return fail(Code::resource_exhausted,
                "all " + std::to_string(options_.max_sandboxes) + " places for sandboxes are taken");
  }
  const Spec& spec = *specs_[spec_index];
  if (spec.values.networked != network.valid()) {
    return fail(Code::invalid_argument, "a sandbox of " + spec.values.name + " is launched " +
                                            (network.valid() ? "with" : "without") + " a network");
  }
  Sandbox sandbox{.id = id,
                  .slot = free_slots_.front(),
                  .limits = {.memory_mb = spec.values.memory_mb,
                             .processes = spec.values.processes,
                             .cpu_percent = spec.values.cpu_percent}};
  if (cgroups_.version() != 0) {
    sandbox.cgroup = TRY(cgroups_.create(std::to_string(id), sandbox.limits));
  }
  sandbox.own_network = !spec.values.networked;
  if (!sandbox.own_network) sandbox.network.handle = std::move(network);
  if (Result<> started = start(sandbox, spec, agent_socket); !started) {
    if (sandbox.cgroup) static_cast<void>(sandbox.cgroup->remove());
    return std::unexpected(std::move(started).error().with_context("sandbox of " + spec.values.name));
  }
  free_slots_.pop_front();
  sandboxes_.emplace(id, std::move(sandbox));
  return {};
}

Result<> LauncherState::start(Sandbox& sandbox, const Spec& spec, const Fd& agent_socket) {
  // Nobody reads while it runs: who writes more than the pipe takes loses it, and does not wait.
  auto [output, output_writer] = TRY(sys::pipe(O_NONBLOCK));
  // Opened anew each time, for a file position of its own.
  const Fd seccomp = TRY(sys::open("/proc/self/fd/" + std::to_string(seccomp_.get()), O_RDONLY));
  if (sandbox.own_network) sandbox.network = TRY(networks_->take());
  SpawnPlan plan{.argv = spec.command.argv(),
                 .null_fd = null_.get(),
                 .output_fd = output_writer.get(),
                 .agent_fd = agent_socket.get(),
                 .seccomp_fd = seccomp.get(),
                 .network_fd = sandbox.network.handle.get(),
                 .change_ids = own_uids_,
                 .uid = options_.first_uid + sandbox.slot};
  if (sandbox.cgroup) {
    plan.cgroup_v1_files = TRY(sandbox.cgroup->open_v1_task_files());
    plan.cgroup_v2_folder = TRY(sandbox.cgroup->open_v2_folder());
  }
  sandbox.pid = TRY(spawn(plan, stack_));
  sandbox.output = std::move(output);
  return {};
}

Result<> LauncherState::set_limits(SandboxId id, uint64_t memory_mb, uint64_t processes) {
  Sandbox* sandbox = TRY(find(id));
  constexpr uint64_t kMaxMb = uint64_t{1} << 30;
  if (memory_mb == 0 || memory_mb > kMaxMb || processes == 0) {
    return fail(Code::invalid_argument, "limits of a sandbox must be positive");
  }
  const CgroupLimits wanted{
      .memory_mb = memory_mb, .processes = processes, .cpu_percent = sandbox->limits.cpu_percent};
  if (sandbox->cgroup) TRY(sandbox->cgroup->set_limits(wanted));
  sandbox->limits = wanted;
  return {};
}

Result<Usage> LauncherState::usage(SandboxId id) {
  const Sandbox* sandbox = TRY(find(id));
  return sandbox->cgroup ? sandbox->cgroup->usage() : Usage();
}

void LauncherState::kill_all(Sandbox& sandbox) const {
  if (!sandbox.reaped) {
    // The first process of the pid namespace takes all others with it, and is ours to reap where its parent
    // dies before it. The parent is not reaped yet, so neither number can belong to anybody else.
    if (sandbox.inner.empty()) sandbox.inner = children_of(sandbox.pid);
    for (const pid_t child : sandbox.inner) ::kill(child, SIGKILL);
    ::kill(sandbox.pid, SIGKILL);
  }
  if (sandbox.cgroup) sandbox.cgroup->kill_all();
}

bool LauncherState::gone(const Sandbox& sandbox) const {
  if (!sandbox.reaped) return false;
  const auto alive = [](pid_t pid) { return ::kill(pid, 0) == 0 || errno != ESRCH; };
  if (std::ranges::any_of(sandbox.inner, alive)) return false;
  return !sandbox.cgroup || sandbox.cgroup->processes().empty();
}

Result<> LauncherState::begin_destroy(SandboxId id, uint32_t request) {
  Sandbox* sandbox = TRY(find(id));
  sandbox->destroying = true;
  sandbox->request = request;
  kill_all(*sandbox);
  return {};
}

void LauncherState::begin_destroy_all() {
  for (auto& [id, sandbox] : sandboxes_) {
    if (sandbox.destroying) continue;
    sandbox.destroying = true;
    kill_all(sandbox);
  }
}

std::vector<SandboxExit> LauncherState::reap() {
  std::vector<SandboxExit> exits;
  int status = 0;
  for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    for (auto& [id, sandbox] : sandboxes_) {
      std::erase(sandbox.inner, pid);
      if (sandbox.pid != pid || sandbox.reaped) continue;
      sandbox.reaped = true;
      if (!sandbox.destroying) {
        exits.push_back({.sandbox = id, .wait_status = status, .output = printable_output(sandbox.output)});
      }
    }
  }
  return exits;
}

std::vector<LauncherState::Destroyed> LauncherState::finish_destroyed(bool kill_again) {
  std::vector<Destroyed> finished;
  for (auto iterator = sandboxes_.begin(); iterator != sandboxes_.end();) {
    Sandbox& sandbox = iterator->second;
    if (!sandbox.destroying || !gone(sandbox)) {
      if (sandbox.destroying && kill_again) kill_all(sandbox);
      ++iterator;
      continue;
    }
    const Usage usage = sandbox.cgroup ? sandbox.cgroup->usage() : Usage();
    if (sandbox.cgroup && !sandbox.cgroup->remove()) {
      ++iterator;
      continue;
    }
    if (sandbox.own_network) static_cast<void>(networks_->give_back(std::move(sandbox.network)));
    finished.push_back({.request = sandbox.request, .usage = usage});
    free_slots_.push_back(sandbox.slot);
    iterator = sandboxes_.erase(iterator);
  }
  return finished;
}

bool LauncherState::destroying() const {
  return std::ranges::any_of(sandboxes_, [](const auto& entry) { return entry.second.destroying; });
}

}  // namespace lambdo::namespaces
