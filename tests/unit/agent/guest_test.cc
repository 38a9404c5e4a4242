#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "agent/guest_setup.h"
#include "base/syscalls.h"
#include "guest_process.h"

#include "test.h"

namespace lambdo::agent {

static constexpr int kPoweredOff = 128 + 2;  // bubblewrap's word for SIGINT

#define REQUIRE_ROOT()                                                                \
  if (!GuestProcess::possible()) {                                                    \
    MESSAGE("skipped: mounting the file systems of a machine of its own needs root"); \
    return;                                                                           \
  }

static const GuestProcess::Files kGood = {
    {"config", "--token=secret\n--hostname\nmachine\n\n--disk-mb=8\n--environment=GREETING=a b\n"},
    {"modules.list", ""},
    {"complete", ""}};

static std::string run(proto::LambdoAgentService::Stub& stub, const proto::ExecuteRequest& request) {
  grpc::ClientContext context;
  proto::ExecuteResponse response;
  const grpc::Status status = stub.Execute(&context, request, &response);
  CHECK_EQ(status.error_message(), "");
  return response.steps_size() == 0 ? "" : response.steps(0).stdout() + response.steps(0).stderr();
}

static bool power_off(proto::LambdoAgentService::Stub& stub) {
  grpc::ClientContext context;
  proto::Empty answer;
  return stub.PowerOff(&context, {}, &answer).ok();
}

TEST_CASE("a machine's init sets it up, registers, runs steps without rights, and powers off") {
  REQUIRE_ROOT();
  ApiService api;
  GuestProcess guest(kGood, &api);
  REQUIRE_MESSAGE(api.wait_ready(), guest.console());
  CHECK_EQ(api.token, "secret");
  CHECK_EQ(api.ready_id, "guest-1");
  const auto stub = guest.dial();
  proto::ExecuteRequest request = steps(
      {"id -u; id -g; grep -E '^(Groups|CapEff|CapPrm|NoNewPrivs):' /proc/self/status;"
       "cat /proc/sys/kernel/hostname /sys/class/net/lo/flags /proc/self/oom_score_adj;"
       "env | grep -E '^(GREETING|PATH|HOME|TERM)=' | sort; pwd; cat file; echo more >>file && echo mine;"
       "ls -d /.lambdo* 2>&1; stat -f -c '%s %b' . /tmp /dev/shm; (: >/x) 2>/dev/null || echo no root;"
       ": >/tmp/x && : >/dev/shm/x && echo scratch; cat </dev/fd/0;"
       "echo open >/dev/stderr; ulimit -n; kill -9 1 2>/dev/null || echo no init; kill -9 $PPID 2>/dev/null "
       "|| echo no executor;"
       "cat /proc/1/environ 2>/dev/null || echo no trace; grep -o '^0::/lambdo-steps' /proc/self/cgroup"});
  add_file(request, "file", "content\n");
  request.set_input("input\n");
  CHECK_EQ(run(*stub, request),
           "1000\n1000\nGroups:\t "
           "\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nmachine\n"
           "0x9\n1000\nGREETING=a b\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
           "/workspace\ncontent\nmine\nls: cannot access '/.lambdo*': No such file or directory\n"
           "4096 2048\n4096 2048\n4096 2048\nno root\nscratch\ninput\n1024\n"
           "no init\nno executor\nno trace\n0::/lambdo-steps\nopen\n");
  CHECK(power_off(*stub));
  CHECK_EQ(WEXITSTATUS(guest.wait()), kPoweredOff);
  CHECK_EQ(guest.console(), "lambdo-agent: started\n");
}

TEST_CASE("a machine's init goes on listening after a connection, and a new one takes the place of the old") {
  REQUIRE_ROOT();
  ApiService api;
  GuestProcess guest(kGood, &api);
  REQUIRE_MESSAGE(api.wait_ready(), guest.console());
  proto::StatusMessage message;
  for (int i = 0; i < 2; ++i) {
    const auto stub = guest.dial();
    grpc::ClientContext context;
    REQUIRE(stub->Status(&context, {}, &message).ok());
  }
  const auto old_stub = guest.dial();
  grpc::ClientContext old_context;
  REQUIRE(old_stub->Status(&old_context, {}, &message).ok());
  const auto stub = guest.dial();
  CHECK_EQ(run(*stub, steps({"echo new"})), "new\n");
  CHECK(power_off(*stub));
  CHECK_EQ(WEXITSTATUS(guest.wait()), kPoweredOff);
}

TEST_CASE("what keeps a machine's init from serving is told on the console, then it powers off") {
  REQUIRE_ROOT();
  ApiService refusing;
  refusing.refusal = "no guest has this token";
  const struct {
    GuestProcess::Files files;
    ApiService* api;
    const char* told;
  } cases[] = {
      {{{"modules.list", ""}}, nullptr, "the image's archive is damaged"},
      {{{"config", "--disk-mb=0\n"}, {"modules.list", ""}, {"complete", ""}}, nullptr, "--disk-mb must be"},
      {{{"modules.list", "vsock\n"}, {"complete", ""}}, nullptr, "kernel module vsock: "},
      {{{"modules.list", "vsock\n"}, {"modules/vsock.ko", "no module"}, {"complete", ""}},
       nullptr,
       "modules/vsock.ko: "},
      {kGood, nullptr, "registration failed: connect to /sockets/api: No such file or directory"},
      {kGood, &refusing, "registration failed: no guest has this token"},
  };
  for (const auto& [files, api, told] : cases) {
    CAPTURE(told);
    GuestProcess guest(files, api);
    CHECK_EQ(WEXITSTATUS(guest.wait()), kPoweredOff);
    const std::string console = guest.console();
    CAPTURE(console);
    CHECK(console.starts_with("lambdo-agent: started\nlambdo-agent: "));
    CHECK_NE(console.find(told), std::string::npos);
  }
}

TEST_CASE("an image's own init takes over with modules loaded, the network up, and nothing else done") {
  REQUIRE_ROOT();
  const std::string config = "--hand-over=/own-init\n--ip=10.0.0.2:::255.255.255.0::lo:off\n";
  GuestProcess guest({{"config", config},
                      {"modules.list", ""},
                      {"complete", ""},
                      {"../own-init",
                       "#!/bin/sh\nexec >&2; echo $0 $$; for file in /.lambdo* /workspace /proc/self; do "
                       "[ ! -e $file ] || echo $file; done; ip -4 -o addr show lo | grep -o '10[^ ]*/24'; "
                       "echo x >/new && echo writable; id -u; exit 7\n"}});
  CHECK_EQ(WEXITSTATUS(guest.wait()), 7);
  CHECK_EQ(guest.console(), "lambdo-agent: started\n/own-init 1\n10.0.0.2/24\nwritable\n0\n");
}

TEST_CASE("what keeps an image's own init from taking over is told on the console") {
  REQUIRE_ROOT();
  const struct {
    GuestProcess::Files files;
    const char* told;
  } cases[] = {
      {{{"config", "--hand-over=/none\n--ip=10.0.0.2:::255.0.0.0::lo:off\n"},
        {"modules.list", ""},
        {"complete", ""}},
       "lambdo-agent: exec /none: No such file or directory\n"},
      {{{"config", "--hand-over=/none\n"}, {"modules.list", ""}}, "archive is damaged"},
      {{{"config", "--hand-over=/none\n--ip=10.0.0.2:::255.0.0.0::eth9:off\n"},
        {"modules.list", ""},
        {"complete", ""}},
       "there is no interface named eth9; there are lo"},
      {{{"config", "--hand-over=/none\n--ip=dhcp\n"}, {"modules.list", ""}, {"complete", ""}},
       "ip=dhcp: names no device"},
      {{{"config", "--hand-over=none\n"}}, "--hand-over must be an absolute path"},
  };
  for (const auto& [files, told] : cases) {
    CAPTURE(told);
    GuestProcess guest(files);
    CHECK_EQ(WEXITSTATUS(guest.wait()), kPoweredOff);
    const std::string console = guest.console();
    CAPTURE(console);
    CHECK_NE(console.find(told), std::string::npos);
  }
}

TEST_CASE("each folder that steps may write to has the size that was asked for") {
  size_t capped = 0;
  for (const MountPoint& point : guest_mounts("/w", 12, {1234, 5678})) {
    if (point.data.find("size=12m") != std::string::npos) ++capped;
    if (point.target == "/w") CHECK_NE(point.data.find("uid=1234,gid=5678"), std::string::npos);
    CHECK_EQ(std::string(point.type) == "tmpfs", point.data.find("size=12m") != std::string::npos);
  }
  CHECK_EQ(capped, 4);
}

TEST_CASE("removing a folder takes all that is in it, and links themselves but not what they lead to") {
  char folder[] = "/tmp/lambdo-remove-test-XXXXXX";
  REQUIRE(::mkdtemp(folder) != nullptr);
  const std::string base = folder;
  REQUIRE(sys::mkdirs(base + "/gone/modules", 0700));
  REQUIRE(sys::mkdirs(base + "/kept", 0700));
  REQUIRE(sys::open(base + "/gone/modules/x.ko", O_CREAT | O_WRONLY, 0600));
  REQUIRE(sys::open(base + "/kept/file", O_CREAT | O_WRONLY, 0600));
  REQUIRE_EQ(::symlink("../kept", (base + "/gone/link").c_str()), 0);
  CHECK(remove_folder(base + "/gone"));
  CHECK(!sys::exists(base + "/gone"));
  CHECK(sys::exists(base + "/kept/file"));
  CHECK(!remove_folder(base + "/gone"));
  CHECK(remove_folder(base));
}

}  // namespace lambdo::agent
