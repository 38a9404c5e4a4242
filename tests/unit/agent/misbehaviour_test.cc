#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "agent_process.h"
#include "base/syscalls.h"

#include "test.h"

// What guest code may do to the agent, and what must come of it.
namespace lambdo::agent {

using Place = AgentProcess::Place;

static constexpr Place kPlaces[] = {Place::plain_child, Place::own_namespace};

static uint64_t status_kb(pid_t pid, const std::string& field) {
  const std::string status = sys::read_file("/proc/" + std::to_string(pid) + "/status").value();
  const size_t at = status.find(field + ":");
  REQUIRE_NE(at, std::string::npos);
  return std::stoull(status.substr(at + field.size() + 1));
}

TEST_CASE("a flood is cut at the limit, is binary-safe, and does not grow the agent") {
  AgentProcess agent;
  proto::ExecuteRequest request = steps({"yes | head -c 1000000000; yes | head -c 200000 >&2; echo end >&2"});
  request.mutable_limits()->set_output_bytes(100'000);
  const auto [status, response] = agent.execute(request);
  REQUIRE(status.ok());
  const auto& step = response.steps(0);
  CHECK_EQ(step.exit_code(), 0);
  CHECK_EQ(step.stdout().size(), 100'000);
  CHECK_EQ(step.stderr().size(), 100'000);
  CHECK(step.stdout_truncated());
  CHECK(step.stderr_truncated());
  CHECK_LT(status_kb(agent.pid(), "VmHWM"), 16 << 10);
}

TEST_CASE("large outputs of several steps arrive whole") {
  AgentProcess agent;
  proto::ExecuteRequest request =
      steps({"head -c 16777216 /dev/zero", "head -c 16777216 /dev/zero; head -c 9 /dev/zero >&2"});
  request.mutable_limits()->set_output_bytes(0);
  const auto [status, response] = agent.execute(request);
  REQUIRE(status.ok());
  REQUIRE_EQ(response.steps_size(), 2);
  CHECK_EQ(response.steps(0).stdout(), std::string(16 << 20, '\0'));
  CHECK_EQ(response.steps(1).stdout().size(), 16 << 20);
  CHECK_EQ(response.steps(1).stderr().size(), 9);
  CHECK(!response.steps(1).stdout_truncated());
}

TEST_CASE("the wall deadline ends all steps within 100 ms, and what was written before is kept") {
  for (const Place place : kPlaces) {
    AgentProcess agent(place);
    proto::ExecuteRequest request =
        steps({"sleep 0.1", "trap '' TERM; echo partial; (sleep 60 &); sleep 60", "true"});
    request.mutable_limits()->set_wall_ms(300);
    const auto [status, response] = agent.execute(request);
    REQUIRE(status.ok());
    REQUIRE_EQ(response.steps_size(), 2);
    CHECK(!response.steps(0).timed_out());
    const auto& step = response.steps(1);
    CHECK(step.timed_out());
    CHECK_EQ(step.signal(), SIGKILL);
    CHECK_EQ(step.exit_code(), 137);
    CHECK_EQ(step.stdout(), "partial\n");
    const uint64_t total_us = response.steps(0).wall_us() + step.wall_us();
    CHECK_GE(total_us, 295'000);
    CHECK_LE(total_us, 400'000);
  }
}

TEST_CASE("the CPU limit counts all processes together") {
  for (const Place place : kPlaces) {
    for (const char* command : {"while :; do :; done", "(while :; do :; done) & (while :; do :; done) & wait",
                                "while :; do /bin/true; done"}) {
      CAPTURE(command);
      AgentProcess agent(place);
      proto::ExecuteRequest request = steps({command});
      request.mutable_limits()->set_cpu_ms(200);
      const auto [status, response] = agent.execute(request);
      REQUIRE(status.ok());
      const auto& step = response.steps(0);
      CHECK(step.cpu_exceeded());
      CHECK(!step.timed_out());
      CHECK_EQ(step.exit_code(), 137);
      CHECK_GE(step.cpu_us(), 190'000);
      CHECK_LE(step.cpu_us(), 300'000);
    }
  }
}

TEST_CASE(
    "a step ends with its shell: daemons that ignore SIGTERM and hold the pipes are killed before the next") {
  const std::string daemon =
      "setsid sh -c 'trap \"\" TERM HUP; echo $$ >daemon.pid; while :; do sleep 1; done' & ";
  for (const Place place : kPlaces) {
    AgentProcess agent(place);
    const auto [status, response] =
        agent.execute(steps({daemon + "while ! [ -s daemon.pid ]; do sleep 0.01; done; echo started",
                             "kill -0 $(cat daemon.pid) 2>/dev/null && echo alive || echo dead"}));
    REQUIRE(status.ok());
    REQUIRE_EQ(response.steps_size(), 2);
    CHECK_EQ(response.steps(0).stdout(), "started\n");
    CHECK_LT(response.steps(0).wall_us(), 5'000'000);
    CHECK_EQ(response.steps(1).stdout(), "dead\n");
  }
}

TEST_CASE("a program that closes its streams is waited for") {
  AgentProcess agent;
  const auto [status, response] = agent.execute("exec <&- >&- 2>&-; sleep 0.2; exit 4");
  REQUIRE(status.ok());
  CHECK_EQ(response.steps(0).exit_code(), 4);
  CHECK_GE(response.steps(0).wall_us(), 200'000);
}

TEST_CASE("orphans are reaped while the step runs") {
  AgentProcess agent(Place::own_namespace);
  const auto [status, response] = agent.execute(
      "i=0; while [ $i -lt 200 ]; do (true &); i=$((i+1)); done; sleep 0.2; ls -d /proc/[0-9]* | wc -l");
  REQUIRE(status.ok());
  CHECK_LE(std::stoi(response.steps(0).stdout()), 8);
}

// Chains of processes that each start the next and end, so that there are always some in the middle of a
// fork. Their number stays bounded: RLIMIT_NPROC, which bounds a real bomb, does not hold for root, who may
// run these tests.
TEST_CASE("processes that keep forking are ended at the deadline and with their step") {
  const std::string bomb =
      "hop() { hop & }; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do hop & done; ";
  AgentProcess agent(Place::own_namespace);
  proto::ExecuteRequest request =
      steps({bomb + "sleep 0.05", "ls -d /proc/[0-9]* | wc -l", bomb + "sleep 60"});
  request.mutable_limits()->set_wall_ms(1000);
  const auto [status, response] = agent.execute(request);
  REQUIRE(status.ok());
  REQUIRE_EQ(response.steps_size(), 3);
  CHECK_LE(std::stoi(response.steps(1).stdout()), 5);
  CHECK(response.steps(2).timed_out());
  CHECK_LT(response.steps(2).wall_us(), 3'000'000);
}

TEST_CASE("killing the executor is killing oneself: signal 9, with the output until then") {
  const struct {
    Place place;
    const char* kill;
  } cases[] = {{Place::own_namespace, "kill -9 -1"},
               {Place::own_namespace, "kill -9 $PPID; sleep 60"},
               {Place::plain_child, "kill -9 $PPID; sleep 60"}};
  for (const auto& [place, kill] : cases) {
    CAPTURE(kill);
    AgentProcess agent(place);
    const auto [status, response] =
        agent.execute(steps({"echo first", std::string("echo second; ") + kill, "true"}));
    REQUIRE(status.ok());
    REQUIRE_EQ(response.steps_size(), 2);
    CHECK_EQ(response.steps(0).stdout(), "first\n");
    CHECK_EQ(response.steps(1).stdout(), "second\n");
    CHECK_EQ(response.steps(1).signal(), SIGKILL);
    CHECK_EQ(response.steps(1).exit_code(), 137);
    CHECK(!response.steps(1).timed_out());
    CHECK_LT(response.steps(1).wall_us(), 5'000'000);
  }
}

TEST_CASE("a stopped executor does not stop the deadline") {
  AgentProcess agent(Place::own_namespace);
  proto::ExecuteRequest request = steps({"echo out; kill -STOP $PPID; sleep 60"});
  request.mutable_limits()->set_wall_ms(100);
  const auto [status, response] = agent.execute(request);
  REQUIRE(status.ok());
  CHECK(response.steps(0).timed_out());
  CHECK_EQ(response.steps(0).exit_code(), 137);
  CHECK_EQ(response.steps(0).stdout(), "out\n");
}

TEST_CASE("other signals to the agent's processes do nothing, and they cannot be traced or read") {
  AgentProcess agent(Place::own_namespace);
  const auto [status, response] = agent.execute(
      "for s in HUP INT QUIT TERM USR1 CHLD ALRM PIPE; do kill -$s 1 $PPID; done; kill -9 1;"
      "cat /proc/1/environ /proc/$PPID/environ /proc/1/maps 2>/dev/null | wc -c");
  REQUIRE(status.ok());
  CHECK_EQ(response.steps(0).exit_code(), 0);
  CHECK_EQ(response.steps(0).stdout(), "0\n");
}

TEST_CASE("the agent exits and leaves nothing when the host goes away, idle or in the middle of a run") {
  for (const Place place : kPlaces) {
    AgentProcess idle(place);
    REQUIRE(idle.execute("true").status.ok());
    idle.hang_up();
    CHECK_EQ(idle.wait(), 0);
  }
  AgentProcess busy;
  grpc::ClientContext context;
  proto::ExecuteResponse response;
  const std::string pid_file = busy.workspace() + "/pid";
  std::thread call([&] {
    busy.stub().Execute(&context, steps({"sleep 60 & echo $! >pid.new; mv pid.new pid; wait"}), &response);
  });
  while (!sys::exists(pid_file)) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  const pid_t sleeper = static_cast<pid_t>(std::stol(sys::read_file(pid_file).value()));
  REQUIRE_EQ(::kill(sleeper, 0), 0);
  SUBCASE("the connection closes") {
    busy.hang_up();
    call.join();
    CHECK_EQ(busy.wait(), 0);
    CHECK_EQ(::kill(sleeper, 0), -1);
  }
  SUBCASE("the call is cancelled") {
    const Fd handle = sys::pidfd_open(sleeper).value();
    context.TryCancel();
    call.join();
    CHECK(AgentProcess::ends(handle));
  }
}

TEST_CASE("the agent answers PowerOff, then ends with all that runs") {
  for (const Place place : kPlaces) {
    AgentProcess agent(place);
    std::thread call([&] { CHECK(!agent.execute("sleep 60").status.ok()); });
    grpc::ClientContext context;
    proto::Empty answer;
    CHECK(agent.stub().PowerOff(&context, {}, &answer).ok());
    CHECK_EQ(agent.wait(), 0);
    call.join();
  }
}

}  // namespace lambdo::agent
