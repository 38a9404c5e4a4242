#include "agent_process.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "base/check.h"
#include "base/syscalls.h"

#if __has_feature(thread_sanitizer)
/// The distribution's gRPC is not instrumented, so how its threads hand memory to each other is not seen. Our
/// own races are: both sides of such a report lie in our program.
extern "C" const char* __tsan_default_suppressions() {
  return "race:libgrpc\nrace:libgpr\nrace:libprotobuf\nrace:libabsl\n";
}
#endif

namespace lambdo::agent {

static std::vector<std::string> command_line(AgentProcess::Place place, const std::string& workspace) {
  if (place == AgentProcess::Place::plain_child) return {LAMBDO_AGENT, "--fd", "3", "--workspace", workspace};
  return {"bwrap",      "--unshare-all", "--as-pid-1", "--die-with-parent",
          "--clearenv", "--cap-drop",    "ALL",        "--ro-bind",
          "/usr",       "/usr",          "--symlink",  "usr/bin",
          "/bin",       "--symlink",     "usr/lib",    "/lib",
          "--symlink",  "usr/lib64",     "/lib64",     "--proc",
          "/proc",      "--dev",         "/dev",       "--tmpfs",
          "/tmp",       "--size",        "8388608",    "--tmpfs",
          "/workspace", "--ro-bind",     LAMBDO_AGENT, "/.agent",
          "--chdir",    "/workspace",    "/.agent",    "--fd",
          "3"};
}

AgentProcess::AgentProcess(Place place) {
  char folder[] = "/tmp/lambdo-agent-test-XXXXXX";
  CHECK(::mkdtemp(folder) != nullptr);
  workspace_ = folder;
  auto [host, guest] = sys::socketpair(SOCK_STREAM).value();
  std::vector<std::string> arguments = command_line(place, workspace_);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  // dup2() of a descriptor onto itself would leave it close-on-exec.
  const Fd inherited(::fcntl(guest.get(), F_DUPFD_CLOEXEC, 10));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, inherited.get(), 3);
  CHECK(::posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  CHECK(::fcntl(host.get(), F_SETFL, O_NONBLOCK) == 0);
  socket_ = host.release();
  channel_ = grpc::CreateCustomInsecureChannelFromFd("agent", socket_, [] {
    grpc::ChannelArguments limits;
    limits.SetMaxReceiveMessageSize(64 << 20);
    return limits;
  }());
  stub_ = proto::LambdoAgentService::NewStub(channel_);
}

AgentProcess::~AgentProcess() {
  if (socket_ >= 0) hang_up();
  if (pid_ > 0 && wait() < 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(workspace_, ignored);
}

void AgentProcess::hang_up() {
  ::shutdown(std::exchange(socket_, -1), SHUT_RDWR);
}

bool AgentProcess::ends(const Fd& process) {
  pollfd ended{process.get(), POLLIN, 0};
  return ::poll(&ended, 1, 10'000) == 1;
}

int AgentProcess::wait() {
  if (!ends(sys::pidfd_open(pid_).value())) return -1;
  int status = 0;
  CHECK(::waitpid(std::exchange(pid_, -1), &status, 0) > 0);
  return status;
}

AgentProcess::Answer AgentProcess::execute(const proto::ExecuteRequest& request) {
  Answer answer;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  answer.status = stub_->Execute(&context, request, &answer.response);
  return answer;
}

AgentProcess::Answer AgentProcess::execute(const std::string& command) {
  return execute(steps({command}));
}

proto::ExecuteRequest steps(const std::vector<std::string>& commands) {
  proto::ExecuteRequest request;
  request.set_id("run-7");
  for (const std::string& command : commands) {
    auto* step = request.add_steps();
    step->set_command(command);
    step->set_enable_output(true);
  }
  request.mutable_limits()->set_wall_ms(20'000);
  request.mutable_limits()->set_output_bytes(1 << 20);
  return request;
}

void add_file(proto::ExecuteRequest& request, const std::string& name, const std::string& content) {
  auto* file = request.add_files();
  file->set_filename(name);
  file->set_content(content);
}

}  // namespace lambdo::agent
