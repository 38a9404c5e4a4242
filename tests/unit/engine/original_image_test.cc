#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "base/syscalls.h"
#include "engine/agent_client.h"
#include "engine/agent_grpc.h"
#include "engine/agent_listener.h"
#include "engine/run_request.h"
#include "lambdo.pb.h"
#include "reactor/timer.h"

#include "test.h"

// An image in the original's layout, started by our agent as a microVM's kernel would: a root of its own with
// /init, /agent and /config.yaml, in network and process namespaces of its own, at the other end of a veth.
namespace lambdo::engine {

namespace fs = std::filesystem;
namespace proto = grpc_definitions;
using reactor::Task;

static constexpr char kFolder[] = "/.lambdo-0123456789abcdef0123456789abcdef";
static constexpr char kInit[] =
    "#!/bin/sh\n"
    "mount -t proc proc /proc\n"
    "exec /agent\n";

/// Runs `body` in a new network namespace, which ends with it, for the host's side.
static void in_own_network(const std::function<void()>& body) {
  std::thread([&] {
    REQUIRE_EQ(::unshare(CLONE_NEWNET), 0);
    REQUIRE_EQ(std::system("ip link set lo up && ip link add host0 type veth peer name eth0 && "
                           "ip addr add 192.168.10.1/24 dev host0 && ip link set host0 up"),
               0);
    body();
  }).join();
}

class Image {
 public:
  explicit Image(const std::string& agent_config) {
    char name[] = "/tmp/lambdo-image-test-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    root = name;
    const std::string ours = root + kFolder;
    for (const char* folder : {"/bin", "/proc", "/tmp", "/dev"}) fs::create_directories(root + folder);
    fs::create_directories(ours);
    fs::copy_file("/bin/busybox", root + "/bin/busybox");
    for (const char* applet : {"sh", "mount", "cat"}) fs::create_symlink("busybox", root + "/bin/" + applet);
    fs::copy_file(LAMBDO_ORIGINAL_AGENT, root + "/agent");
    fs::copy_file(LAMBDO_AGENT, ours + "/init");
    write("/init", kInit);
    fs::permissions(root + "/init", fs::perms(0755));
    write("/config.yaml", agent_config);
    write(std::string(kFolder) + "/config",
          "--hand-over=/init\n--ip=192.168.10.2::192.168.10.1:255.255.255.0::eth0:off\n");
    write(std::string(kFolder) + "/modules.list", "");
    write(std::string(kFolder) + "/complete", "");
  }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }

  std::string root;

 private:
  void write(const std::string& path, const std::string& content) { std::ofstream(root + path) << content; }
};

/// The image's machine; takes the interface eth0 of the calling thread's network.
class Machine {
 public:
  explicit Machine(const Image& image) {
    const std::string host =
        "/proc/" + std::to_string(::getpid()) + "/task/" + std::to_string(::syscall(SYS_gettid)) + "/ns/net";
    std::string script = "nsenter --net=" + host + " ip link set eth0 netns $$ && exec unshare --pid " +
                         "--fork --kill-child --mount chroot " + image.root + " " + kFolder + "/init";
    std::vector<std::string> words = {"unshare", "--net", "sh", "-c", std::move(script)};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    REQUIRE_EQ(::posix_spawnp(&pid_, argv[0], nullptr, nullptr, argv.data(), environ), 0);
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_ = -1;
};

static proto::ExecuteRequest make_request() {
  Language language;
  language.has_own_init = true;
  language.environment = {{"GREETING", "hello"}, {"NAME", "image"}};
  language.steps = {{.command = "sh ./{{filename}} {{args}}"}};
  RunRequest request;
  request.input = "from input\n";
  request.args = {"a 'quoted' word", "$HOME"};
  request.environment = {{"NAME", "two\nlines"}};
  request.code = {{"main.sh",
                   "echo \"$GREETING $NAME $# $1 $2\"; cat; "
                   "cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6; echo problem >&2; exit 3"}};
  return build_execute_request(request, language, {}, "run-1");
}

static Task<> run_program(reactor::Reactor& reactor, AgentGrpc& agents, ExpectedAgent& expected) {
  reactor::Deadline deadline(reactor, reactor.now_ns() + 20'000'000'000);
  auto socket = co_await expected.connect(deadline.token());
  REQUIRE_MESSAGE(socket, socket.error().message);
  const auto connection = AgentConnection::create(agents, *std::move(socket)).value();
  const auto ready = co_await connection->wait_ready(deadline.token());
  REQUIRE_MESSAGE(ready, ready.error().message);
  // Its network is set by then, and it cannot be told another.
  const proto::ConfigureRequest network;
  const auto configured = co_await connection->configure(network, deadline.token());
  REQUIRE(!configured);
  CHECK_EQ(configured.error().code, Code::agent_protocol);
  CHECK_EQ(configured.error().message, "agent: does not know this call, as the original's do not");
  const proto::ExecuteRequest request = make_request();
  const auto answer = co_await connection->execute(request, deadline.token());
  REQUIRE_MESSAGE(answer, answer.error().message);
  REQUIRE_EQ(answer->steps_size(), 1);
  CHECK_EQ(answer->steps(0).exit_code(), 3);
  CHECK_EQ(answer->steps(0).stdout(), "hello two\nlines 2 a 'quoted' word $HOME\nfrom input\n1\n");
  CHECK_EQ(answer->steps(0).stderr(), "problem\n");
}

static void serve_image(uint16_t port, const std::string& agent_config) {
  const auto reactor = reactor::Reactor::create().value();
  AgentGrpc agents{*reactor};
  AgentListener listener(*reactor, {.host = "192.168.10.1", .port = port});
  const Result<> started = listener.start();
  REQUIRE_MESSAGE(started, started.error().message);
  auto expected = listener.expect("192.168.10.2").value();
  const Image image(agent_config);
  {
    const Machine machine(image);
    reactor->run(run_program(*reactor, agents, *expected));
  }
  CHECK_EQ(listener.statistics().registered, 1);
  CHECK_EQ(listener.statistics().refused_unknown, 0);
  reactor->run(listener.stop());
}

TEST_CASE(
    "an image of the original's layout runs unchanged: network from ip=, host from the default gateway") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: network namespaces of its own need root");
    return;
  }
  in_own_network([] { serve_image(50051, "apiVersion: lambdo.io/v1alpha1\nkind: AgentConfig\n"); });
}

TEST_CASE("its configuration says where host and agent are") {
  if (::geteuid() != 0) {
    MESSAGE("skipped: network namespaces of its own need root");
    return;
  }
  in_own_network([] {
    serve_image(4000,
                "apiVersion: lambdo.io/v1alpha1\nkind: AgentConfig\ngrpc:\n  remote_host: \"192.168.10.1\"\n"
                "  remote_port: 4000  # not the usual one\n  local_host: 192.168.10.2\n  local_port: 4001\n");
  });
}

}  // namespace lambdo::engine
