#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "engine/agent_client.h"
#include "engine/agent_grpc.h"
#include "guest_process.h"
#include "reactor/timer.h"

#include "test.h"

// Configure, through the real agent.
namespace lambdo::agent {

static constexpr int kPoweredOff = 128 + 2;  // bubblewrap's word for SIGINT

static grpc::Status configure(proto::LambdoAgentService::Stub& stub, const proto::ConfigureRequest& request) {
  grpc::ClientContext context;
  proto::Empty answer;
  return stub.Configure(&context, request, &answer);
}

TEST_CASE("a machine's init takes its name and network from the host, before and after each other") {
  if (!GuestProcess::possible()) {
    MESSAGE("skipped: mounting the file systems of a machine of its own needs root");
    return;
  }
  ApiService api;
  GuestProcess guest({{"config", "--hostname=machine\n"}, {"modules.list", ""}, {"complete", ""}}, &api);
  REQUIRE_MESSAGE(api.wait_ready(), guest.console());
  guest.add_interface("eth0", "02:00:00:00:00:01");
  const auto stub = guest.dial();
  proto::ConfigureRequest request;
  request.set_hostname("vm-7");
  proto::NetworkInterface& interface = *request.mutable_interface();
  interface.set_mac("02:00:00:00:00:05");
  interface.set_ipv4("192.168.10.2/24");
  interface.set_ipv4_gateway("192.168.10.1");
  interface.add_dns_servers("192.168.10.1");

  grpc::Status status = configure(*stub, request);
  CHECK_NE(status.error_message().find("there is no interface with the MAC address 02:00:00:00:00:05"),
           std::string::npos);
  interface.set_mac("02:00:00:00:00:01");
  interface.set_mtu(5);
  status = configure(*stub, request);
  CHECK_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(status.error_message().starts_with("interface.mtu: "));
  interface.clear_mtu();
  REQUIRE_EQ(configure(*stub, request).error_message(), "");
  // As after a clone.
  request.set_hostname("vm-8");
  interface.set_ipv4("192.168.10.3/24");
  interface.set_new_mac("02:00:00:00:00:02");
  interface.set_dns_servers(0, "192.168.10.9");
  REQUIRE_EQ(configure(*stub, request).error_message(), "");

  grpc::ClientContext context;
  proto::ExecuteResponse response;
  REQUIRE(
      stub->Execute(
              &context,
              steps({"cat /proc/sys/kernel/hostname /etc/hostname /etc/resolv.conf /etc/hosts;"
                     "ip -4 -o addr show dev eth0 | grep -o '192[^ ]*/24'; ip route show default | grep -o "
                     "'.* static';"
                     "cat /sys/class/net/eth0/address;"
                     "(echo x >/etc/resolv.conf) 2>/dev/null || echo no;"
                     "(echo x >/run/lambdo/hosts) 2>/dev/null || echo no;"
                     "ip link set eth0 down 2>/dev/null || echo no; (: >/etc/new) 2>/dev/null || echo no"}),
              &response)
          .ok());
  CHECK_EQ(response.steps(0).stdout(),
           "vm-8\nvm-8\nnameserver 192.168.10.9\n"
           "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n192.168.10.3 vm-8\n"
           "192.168.10.3/24\ndefault via 192.168.10.1 dev eth0 proto static\n02:00:00:00:00:02\n"
           "no\nno\nno\nno\n");
  grpc::ClientContext end;
  proto::Empty answer;
  CHECK(stub->PowerOff(&end, {}, &answer).ok());
  CHECK_EQ(WEXITSTATUS(guest.wait()), kPoweredOff);
}

/// Through the host's own client, again and again on one connection.
static reactor::Task<> configure_by_client(reactor::Reactor& reactor, engine::AgentGrpc& agents, Fd socket) {
  reactor::Deadline deadline(reactor, reactor.now_ns() + 20'000'000'000);
  const auto connection = engine::AgentConnection::create(agents, std::move(socket)).value();
  const auto ready = co_await connection->wait_ready(deadline.token());
  REQUIRE_MESSAGE(ready, ready.error().message);
  proto::ConfigureRequest request;
  proto::NetworkInterface& interface = *request.mutable_interface();
  interface.set_mac("02:00:00:00:00:01");
  for (const char* address : {"192.168.10.2/24", "192.168.10.3/24"}) {
    interface.set_ipv4(address);
    const auto done = co_await connection->configure(request, deadline.token());
    REQUIRE_MESSAGE(done, done.error().message);
  }
  interface.set_ipv4("192.168.10.256/24");
  const auto wrong = co_await connection->configure(request, deadline.token());
  REQUIRE(!wrong);
  CHECK_EQ(wrong.error().code, Code::invalid_argument);
  CHECK(wrong.error().message.starts_with("agent: interface.ipv4: "));
  interface.set_ipv4("192.168.10.4/24");
  interface.set_mac("02:00:00:00:00:09");
  const auto missing = co_await connection->configure(request, deadline.token());
  REQUIRE(!missing);
  CHECK_EQ(missing.error().code, Code::agent_protocol);
  CHECK_NE(missing.error().message.find("there is no interface"), std::string::npos);
  proto::ExecuteRequest steps_request = steps({"ip -4 -o addr show dev eth0 | grep -o '192[^ ]*/24'"});
  const auto answer = co_await connection->execute(steps_request, deadline.token());
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK_EQ(answer->steps(0).stdout(), "192.168.10.3/24\n");
}

TEST_CASE("the host's client configures a guest as often as it likes, and tells what was wrong") {
  if (!GuestProcess::possible()) {
    MESSAGE("skipped: mounting the file systems of a machine of its own needs root");
    return;
  }
  ApiService api;
  GuestProcess guest({{"config", "--hostname=machine\n"}, {"modules.list", ""}, {"complete", ""}}, &api);
  REQUIRE_MESSAGE(api.wait_ready(), guest.console());
  guest.add_interface("eth0", "02:00:00:00:00:01");
  const auto reactor = reactor::Reactor::create().value();
  engine::AgentGrpc agents(*reactor);
  reactor->run(configure_by_client(*reactor, agents, guest.connect()));
  grpc::ClientContext end;
  proto::Empty answer;
  CHECK(guest.dial()->PowerOff(&end, {}, &answer).ok());
  CHECK_EQ(WEXITSTATUS(guest.wait()), kPoweredOff);
}

TEST_CASE("an agent that is no machine's init leaves the network to who made it") {
  AgentProcess agent;
  const grpc::Status status = configure(agent.stub(), {});
  CHECK_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  CHECK_EQ(status.error_message(), "this guest's network is not its agent's to set");
}

}  // namespace lambdo::agent
