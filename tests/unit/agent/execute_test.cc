#include <fcntl.h>

#include <chrono>
#include <string>
#include <thread>

#include "agent_process.h"
#include "base/syscalls.h"

#include "test.h"

namespace lambdo::agent {

using namespace std::string_literals;

TEST_CASE("the agent is ready, runs one request, and refuses a second") {
  AgentProcess agent;
  grpc::ClientContext context;
  proto::StatusMessage message;
  REQUIRE(agent.stub().Status(&context, {}, &message).ok());
  CHECK_EQ(message.code(), proto::READY);
  CHECK_EQ(message.id(), "");

  const auto [status, response] = agent.execute("echo out; echo err >&2");
  REQUIRE(status.ok());
  CHECK_EQ(response.id(), "run-7");
  REQUIRE_EQ(response.steps_size(), 1);
  const auto& step = response.steps(0);
  CHECK_EQ(step.command(), "echo out; echo err >&2");
  CHECK_EQ(step.stdout(), "out\n");
  CHECK_EQ(step.stderr(), "err\n");
  CHECK_EQ(step.exit_code(), 0);
  CHECK_EQ(step.signal(), 0);
  CHECK_GT(step.wall_us(), 0);
  CHECK_GT(step.cpu_us(), 0);
  CHECK_GT(step.max_rss_kb(), 0);
  // The agent's own memory must not count as the step's: a shell needs less than 2 MiB.
  CHECK_LT(step.max_rss_kb(), 4096);

  CHECK_EQ(agent.execute("true").status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  grpc::ClientContext second_context;
  REQUIRE(agent.stub().Status(&second_context, {}, &message).ok());
  CHECK_EQ(message.id(), "run-7");
}

TEST_CASE("the agent says that it is ready while a run goes on") {
  AgentProcess agent;
  AgentProcess::Answer answer;
  std::thread call([&] { answer = agent.execute("while ! [ -e go ]; do sleep 0.01; done; echo went"); });
  proto::StatusMessage message;
  while (message.id().empty()) {
    grpc::ClientContext context;
    REQUIRE(agent.stub().Status(&context, {}, &message).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK_EQ(message.code(), proto::READY);
  CHECK(sys::open(agent.workspace() + "/go", O_CREAT | O_WRONLY, 0600));
  call.join();
  CHECK_EQ(answer.response.steps(0).stdout(), "went\n");
}

TEST_CASE("files of all kinds are there, and steps start in the workspace") {
  AgentProcess agent;
  proto::ExecuteRequest request = steps({"pwd; cat main.txt a/b/c.txt; ./run.sh; wc -c <binary"});
  add_file(request, "main.txt", "main\n");
  add_file(request, "a/b/c.txt", "deep\n");
  add_file(request, "run.sh", "#!/bin/sh\necho script\n");
  add_file(request, "binary", "\xff\0\xfe"s);
  const auto [status, response] = agent.execute(request);
  REQUIRE(status.ok());
  CHECK_EQ(response.steps(0).stdout(), agent.workspace() + "\nmain\ndeep\nscript\n3\n");
}

TEST_CASE("a file name that leaves the workspace fails the request before anything is written or run") {
  for (const std::string name : {"../x", "/x", "a/../../x", "", "a/"}) {
    CAPTURE(name);
    AgentProcess agent;
    proto::ExecuteRequest request = steps({"touch ran"});
    add_file(request, "good", "");
    add_file(request, name, "evil");
    const auto [status, response] = agent.execute(request);
    CHECK_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    CHECK_NE(status.error_message().find('"' + name + '"'), std::string::npos);
    CHECK(sys::list_directory(agent.workspace()).value().empty());
  }
}

TEST_CASE("a full disk is told as such") {
  AgentProcess agent(AgentProcess::Place::own_namespace);
  proto::ExecuteRequest request = steps({"true"});
  add_file(request, "big", std::string(9 << 20, 'x'));
  const auto [status, response] = agent.execute(request);
  CHECK_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK_NE(status.error_message().find("\"big\""), std::string::npos);
}

TEST_CASE("what cannot be run is refused") {
  proto::ExecuteRequest with_nul = steps({"echo a\0b"s});
  proto::ExecuteRequest bad_name = steps({"true"});
  bad_name.add_environment()->set_name("A=B");
  for (const auto& request : {steps({}), steps(std::vector<std::string>(65, "true")), with_nul, bad_name}) {
    AgentProcess agent;
    CHECK_EQ(agent.execute(request).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_CASE("every step reads the whole input, and cannot change it for the next") {
  AgentProcess agent;
  proto::ExecuteRequest request = steps({"head -c 2; (printf evil >/proc/self/fd/0) 2>&1 | wc -l", "cat"});
  request.set_input("in\0put\xff"s);
  const auto [status, response] = agent.execute(request);
  REQUIRE(status.ok());
  REQUIRE_EQ(response.steps_size(), 2);
  CHECK_EQ(response.steps(0).stdout(), "in1\n");
  CHECK_EQ(response.steps(1).stdout(), "in\0put\xff"s);
}

TEST_CASE("arguments and environment reach the program unchanged") {
  AgentProcess agent(AgentProcess::Place::own_namespace);
  proto::ExecuteRequest request = steps({R"(printf '[%s]' "$0" "$@" "$A" "$B" "$PATH")"});
  for (const char* argument : {"one two", "", "$(evil)", "'\""})
    request.mutable_steps(0)->add_arguments(argument);
  const std::pair<const char*, const char*> variables[] = {{"A", "first"}, {"B", "x=y z"}, {"A", "last"}};
  for (const auto& [name, value] : variables) {
    auto* variable = request.add_environment();
    variable->set_name(name);
    variable->set_value(value);
  }
  const auto [status, response] = agent.execute(request);
  REQUIRE(status.ok());
  CHECK_EQ(response.steps(0).stdout(),
           "[lambdo][one two][][$(evil)]['\"][last][x=y z]"
           "[/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin]");
}

TEST_CASE("exit codes and signals are told apart") {
  const struct {
    const char* command;
    int exit_code;
    int signal;
  } cases[] = {{"exit 3", 3, 0},
               {"exit 137", 137, 0},
               {"kill -KILL $$", 137, 9},
               {"kill -SEGV $$", 139, 11},
               {"nosuch", 127, 0}};
  for (const auto& [command, exit_code, signal] : cases) {
    CAPTURE(command);
    AgentProcess agent;
    const auto [status, response] = agent.execute(command);
    REQUIRE(status.ok());
    CHECK_EQ(response.steps(0).exit_code(), exit_code);
    CHECK_EQ(response.steps(0).signal(), signal);
  }
}

TEST_CASE("steps stop at the first that fails") {
  AgentProcess agent;
  const auto [status, response] = agent.execute(steps({"echo 1", "echo 2; exit 5", "touch third"}));
  REQUIRE(status.ok());
  REQUIRE_EQ(response.steps_size(), 2);
  CHECK_EQ(response.steps(0).stdout(), "1\n");
  CHECK_EQ(response.steps(1).stdout(), "2\n");
  CHECK_EQ(response.steps(1).exit_code(), 5);
  CHECK(sys::list_directory(agent.workspace()).value().empty());
}

TEST_CASE("output that is not enabled is dropped, errors are not") {
  AgentProcess agent;
  proto::ExecuteRequest request = steps({"head -c 1000000 /dev/zero; echo err >&2"});
  request.mutable_steps(0)->set_enable_output(false);
  const auto [status, response] = agent.execute(request);
  REQUIRE(status.ok());
  CHECK_EQ(response.steps(0).stdout(), "");
  CHECK_EQ(response.steps(0).stderr(), "err\n");
  CHECK(!response.steps(0).stdout_truncated());
}

TEST_CASE("a program may keep its state between steps, but not its pipes") {
  AgentProcess agent;
  // The first step makes its stdout non-blocking, which must not reach the second, whose output fills the
  // pipe.
  const auto [status, response] =
      agent.execute(steps({"python3 -c 'import os; os.set_blocking(1, False)'; echo kept >file",
                           "cat file; head -c 300000 /dev/zero"}));
  REQUIRE(status.ok());
  REQUIRE_EQ(response.steps_size(), 2);
  CHECK_EQ(response.steps(1).exit_code(), 0);
  CHECK_EQ(response.steps(1).stdout(), "kept\n" + std::string(300'000, '\0'));
}

TEST_CASE("limits of a single process hold, and the step is the first to go when memory is short") {
  AgentProcess agent(AgentProcess::Place::own_namespace);
  proto::ExecuteRequest request =
      steps({"head -c 100000 /dev/zero >file; echo $?; ulimit -c; ulimit -t; cat /proc/self/oom_score_adj"});
  request.mutable_limits()->set_file_bytes(65536);
  request.mutable_limits()->set_cpu_ms(1500);
  const auto [status, response] = agent.execute(request);
  REQUIRE(status.ok());
  CHECK_EQ(response.steps(0).stdout(), "153\n0\n3\n1000\n");  // 128 + SIGXFSZ
}

}  // namespace lambdo::agent
