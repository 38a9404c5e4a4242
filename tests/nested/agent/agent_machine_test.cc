#include <span>
#include <string>

#include "machine.h"

#include "test.h"

// What tests/unit/agent/guest_test.cc cannot show without a machine: the kernel's modules, vsock, and limits.
namespace lambdo::agent {

static constexpr char kImage[] = "build/guest-images/bash.cpio";

TEST_CASE("the agent sets a machine up, registers over vsock, keeps to the limits, and powers off") {
  const std::vector<std::byte> image = read_bytes(kImage);
  ApiService api;
  Machine machine(image, "--token=secret\n--hostname=machine\n--disk-mb=16\n", api);
  REQUIRE_MESSAGE(api.wait_ready(60), machine.console());
  CHECK_EQ(api.token, "secret");
  CHECK_EQ(api.port, Machine::kListenPort);

  // A connection that breaks leaves the guest as it was.
  for (int i = 0; i < 2; ++i) {
    grpc::ClientContext context;
    proto::StatusMessage message;
    REQUIRE(machine.dial()->Status(&context, {}, &message).ok());
    CHECK_EQ(message.code(), proto::READY);
  }

  const auto stub = machine.dial();
  proto::ExecuteRequest request =
      steps({"id -u; cat /proc/sys/kernel/hostname /sys/fs/cgroup/lambdo-steps/memory.max",
             "(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do (sleep 1) & done; wait) 2>&1; true",
             "head -c 200000000 /dev/zero | tail -n 1 | wc -c; true", "head -c 8000000 /dev/zero >f; cat f",
             "x=$(head -c 300000000 /dev/zero | tr '\\0' a)"});
  request.mutable_limits()->set_wall_ms(600'000);
  request.mutable_limits()->set_output_bytes(16 << 20);
  request.mutable_limits()->set_memory_bytes(64 << 20);
  request.mutable_limits()->set_processes(12);
  grpc::ClientContext context;
  proto::ExecuteResponse response;
  const grpc::Status status = stub->Execute(&context, request, &response);
  REQUIRE_MESSAGE(status.ok(), status.error_message());
  REQUIRE_EQ(response.steps_size(), 5);
  CHECK_EQ(response.steps(0).stdout(), "1000\nmachine\n67108864\n");
  CHECK_NE(response.steps(1).stdout().find("Cannot fork"), std::string::npos);
  CHECK(!response.steps(1).oom_killed());
  CHECK_EQ(response.steps(2).exit_code(), 0);
  CHECK(response.steps(2).oom_killed());
  CHECK(response.steps(3).stdout() == std::string(8'000'000, '\0'));
  CHECK(!response.steps(3).oom_killed());
  CHECK(!response.steps(4).timed_out());
  CHECK_EQ(response.steps(4).signal(), 9);
  CHECK(response.steps(4).oom_killed());

  grpc::ClientContext power_off_context;
  proto::Empty answer;
  CHECK(stub->PowerOff(&power_off_context, {}, &answer).ok());
  CHECK(machine.wait());
  CHECK_NE(machine.console().find("lambdo-agent: started"), std::string::npos);
  CHECK_NE(machine.console().find("Power down"), std::string::npos);
}

TEST_CASE("an image whose archive the kernel cannot unpack is told on the console") {
  std::vector<std::byte> image = read_bytes(kImage);
  image.resize(image.size() / 2 / 512 * 512);
  ApiService api;
  Machine machine(image, "", api);
  CHECK(machine.wait());
  CHECK_NE(machine.console().find("lambdo-agent: the image's archive is damaged"), std::string::npos);
  CHECK_EQ(api.token, "");
}

}  // namespace lambdo::agent
