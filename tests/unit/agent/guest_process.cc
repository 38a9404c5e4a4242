#include "guest_process.h"

#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/syscalls.h"

namespace lambdo::agent {

static constexpr char kFolder[] = "/.lambdo-0123456789abcdef0123456789abcdef";
static constexpr char kSockets[] = "/sockets";

grpc::Status ApiService::Register(grpc::ServerContext*, const proto::RegisterRequest* request,
                                  proto::RegisterResponse* response) {
  if (!refusal.empty()) {
    response->set_error(refusal);
  } else {
    response->set_id("guest-1");
  }
  const std::lock_guard lock(mutex_);
  token = request->token();
  port = request->port();
  return grpc::Status::OK;
}

grpc::Status ApiService::Status(grpc::ServerContext*, const proto::StatusMessage* message, proto::Empty*) {
  const std::lock_guard lock(mutex_);
  ready_id = message->id();
  ready_ = message->code() == proto::READY;
  changed_.notify_all();
  return grpc::Status::OK;
}

bool ApiService::wait_ready(int timeout_s) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(timeout_s), [this] { return ready_; });
}

bool GuestProcess::possible() {
  return ::geteuid() == 0;
}

static int run(std::vector<std::string> arguments, const std::string& console, pid_t& pid) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 2, console.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int error = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

GuestProcess::GuestProcess(const Files& files, ApiService* api) {
  char folder[] = "/tmp/lambdo-guest-test-XXXXXX";
  CHECK(::mkdtemp(folder) != nullptr);
  tree_ = folder;
  const std::string root = tree_ + "/root";
  const std::string ours = root + kFolder;
  std::filesystem::create_directories(ours);
  std::filesystem::create_directories(root + kSockets);
  // The agent makes its socket as the steps' user.
  std::filesystem::permissions(root + kSockets, std::filesystem::perms::all);
  // As the boot archive has it.
  std::filesystem::create_directories(root + "/proc");
  std::filesystem::create_directories(root + "/usr");
  for (const char* name : {"bin", "lib", "lib64"}) {
    std::filesystem::create_symlink(std::string("usr/") + name, root + '/' + name);
  }
  std::filesystem::copy_file(LAMBDO_AGENT, ours + "/init");
  for (const auto& [name, content] : files) {
    std::filesystem::create_directories(std::filesystem::path(ours + '/' + name).parent_path());
    std::ofstream(ours + '/' + name) << content;
    if (name.starts_with("../"))
      std::filesystem::permissions(ours + '/' + name, std::filesystem::perms(0755));
  }
  std::ofstream(ours + "/config", std::ios::app) << "--register-port=unix:" << kSockets << "/api\n"
                                                 << "--listen-port\nunix:" << kSockets << "/agent\n";
  if (api != nullptr) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + root + kSockets + "/api", grpc::InsecureServerCredentials());
    builder.RegisterService(api);
    server_ = builder.BuildAndStart();
    std::filesystem::permissions(root + kSockets + "/api", std::filesystem::perms::all);
  }
  // Without a user namespace, so that devtmpfs can be mounted.
  CHECK(run({"bwrap",
             "--unshare-pid",
             "--unshare-net",
             "--unshare-uts",
             "--unshare-ipc",
             "--unshare-cgroup-try",
             "--as-pid-1",
             "--die-with-parent",
             "--cap-add",
             "ALL",
             "--bind",
             root,
             "/",
             "--ro-bind",
             "/usr",
             "/usr",
             "--bind",
             root + kSockets,
             kSockets,
             std::string(kFolder) + "/init"},
            tree_ + "/console", pid_) == 0);
}

GuestProcess::~GuestProcess() {
  if (pid_ > 0 && wait() < 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  if (server_) server_->Shutdown(std::chrono::system_clock::now());
  // The hierarchy is this machine's own.
  pid_t cleaner = -1;
  CHECK(run({"unshare", "--mount", "--cgroup", "sh", "-c",
             "mount -t cgroup2 none /tmp && [ ! -d /tmp/lambdo-steps ] || rmdir /tmp/lambdo-steps"},
            tree_ + "/console", cleaner) == 0);
  ::waitpid(cleaner, nullptr, 0);
  std::error_code ignored;
  std::filesystem::remove_all(tree_, ignored);
}

std::unique_ptr<proto::LambdoAgentService::Stub> GuestProcess::dial() {
  grpc::ChannelArguments arguments;
  // Two channels to the same address would else share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return proto::LambdoAgentService::NewStub(grpc::CreateCustomChannel(
      "unix:" + tree_ + "/root" + kSockets + "/agent", grpc::InsecureChannelCredentials(), arguments));
}

Fd GuestProcess::connect() {
  const std::string path = tree_ + "/root" + kSockets + "/agent";
  sockaddr_un address{.sun_family = AF_UNIX};
  CHECK(path.size() < sizeof address.sun_path);
  std::copy(path.begin(), path.end(), address.sun_path);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  CHECK(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return socket;
}

int GuestProcess::wait() {
  if (!AgentProcess::ends(sys::pidfd_open(pid_).value())) return -1;
  int status = 0;
  CHECK(::waitpid(std::exchange(pid_, -1), &status, 0) > 0);
  return status;
}

void GuestProcess::add_interface(const std::string& name, const std::string& mac) {
  // bubblewrap stays outside; its one child is the agent.
  const std::string pid = std::to_string(pid_);
  const std::string children = sys::read_file("/proc/" + pid + "/task/" + pid + "/children").value();
  pid_t maker = -1;
  CHECK(run({"nsenter", "--net=/proc/" + children.substr(0, children.find(' ')) + "/ns/net", "ip", "link",
             "add", name, "address", mac, "type", "veth", "peer", "name", name + "-peer"},
            tree_ + "/console", maker) == 0);
  int status = 0;
  CHECK(::waitpid(maker, &status, 0) == maker && status == 0);
}

std::string GuestProcess::console() {
  return sys::read_file(tree_ + "/console").value_or("");
}

}  // namespace lambdo::agent
