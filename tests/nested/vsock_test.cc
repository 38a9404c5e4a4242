// The socket device with Linux's driver: a guest of Debian's kernel echoes over vsock.

#define DOCTEST_CONFIG_IMPLEMENT

#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "guest.h"
#include "kvm/boot/command_line.h"
#include "kvm/boot/kernel_modules.h"
#include "kvm/probe.h"
#include "reactor/operations.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "virtio/rng.h"
#include "vm_host.h"
#include "vsock/device.h"

#include "test.h"

namespace lambdo::kvm {

using fixture::Host;
using reactor::Reactor;
using reactor::Task;

namespace {

constexpr uint32_t kEchoPort = 7000;
constexpr uint32_t kHostPort = 5000;
constexpr uint64_t kManyBytes = 64 << 20;

std::byte byte_at(uint64_t position) {
  return static_cast<std::byte>((position * 0x9e3779b97f4a7c15) >> 56);
}

/// A guest that runs vsock_init.
VmConfig vsock_guest(vsock::Vsock& device) {
  const auto init = guest::read_bytes(guest::build_folder() + "/tests/nested/vsock_init");
  const auto folder = ModulesFolder::open(guest::kernel_folder() + "/modules").value();
  const auto modules = folder.resolve(kGuestModules).value();
  const BootToken token = BootToken::random().value();
  CommandLine line = CommandLine::defaults();
  line.add("rdinit", token.init_path()).value();
  VmConfig config;
  config.source.kernel = guest::kernel();
  config.source.initrd = std::make_shared<const BootArchive>(
      BootArchive::create({.agent = init, .modules = modules, .config = ""}, {}).value());
  config.source.token = token;
  config.source.command_line = line.text();
  config.devices = {&device};
  return config;
}

Task<> write_all(Reactor& reactor, int socket, uint64_t total_bytes) {
  std::minstd_rand random(1);
  std::vector<std::byte> block;
  for (uint64_t at = 0; at < total_bytes;) {
    block.resize(std::min<uint64_t>(total_bytes - at, 1 + random() % 200'000));
    for (size_t i = 0; i < block.size(); ++i) block[i] = byte_at(at + i);
    const auto sent = co_await reactor::SendOp(reactor, socket, block);
    CHECK(sent.has_value());
    if (!sent) co_return;
    at += *sent;
  }
  ::shutdown(socket, SHUT_WR);
}

/// How many bytes came back, to the end, as they were sent.
Task<uint64_t> read_all(Reactor& reactor, int socket) {
  std::vector<std::byte> block(100'000);
  uint64_t at = 0;
  while (true) {
    const auto got = co_await reactor::ReceiveOp(reactor, socket, block);
    if (!got || *got == 0) co_return at;
    for (size_t i = 0; i < *got; ++i, ++at) {
      if (block[i] != byte_at(at)) co_return at;
    }
  }
}

Task<> echo(Reactor& reactor, const Fd& socket, uint64_t total_bytes) {
  const int64_t start_ns = reactor.now_ns();
  reactor::Scope scope(reactor);
  scope.spawn(write_all(reactor, socket.get(), total_bytes));
  CHECK_EQ(co_await read_all(reactor, socket.get()), total_bytes);
  // Where bytes were lost, nobody waits for the rest.
  ::shutdown(socket.get(), SHUT_RDWR);
  co_await scope.join();
  std::printf("%llu bytes there and back in %lld ms\n", static_cast<unsigned long long>(total_bytes),
              static_cast<long long>((reactor.now_ns() - start_ns) / 1'000'000));
}

Task<> await_word(Reactor& reactor, Vm& vm, std::string word) {
  const int64_t deadline_ns = reactor.now_ns() + 300'000'000'000;
  while (!vm.console().contains(word) && !vm.ended().is_set() && reactor.now_ns() < deadline_ns) {
    (void)co_await reactor::SleepOp::for_ms(reactor, 20);
  }
  INFO(vm.console());
  CHECK(vm.console().contains(word));
}

Task<> dial_and_echo(Reactor& reactor, vsock::Vsock& device, uint64_t total_bytes) {
  auto socket = co_await device.connect(kEchoPort, {});
  CHECK(socket.has_value());
  if (socket) co_await echo(reactor, *socket, total_bytes);
}

Task<> run_all(Host& host, vsock::Vsock& device) {
  Reactor& reactor = *host.reactor;
  std::optional<Fd> dialled;
  reactor::Event arrived(reactor);
  device.listen(kHostPort, [&](Fd socket, uint32_t) {
    dialled = std::move(socket);
    arrived.set();
  });
  auto vm = (co_await Vm::start(reactor, host.threads, vsock_guest(device))).value();
  reactor::Deadline deadline(reactor, reactor.now_ns() + 120'000'000'000);
  const auto waited = co_await arrived.wait(deadline.token());
  INFO(vm->console());
  CHECK(waited.has_value());
  if (waited) {
    co_await echo(reactor, *dialled, kManyBytes);
    co_await await_word(reactor, *vm, "init: ready");
    CHECK(vm->console().contains("init: echoed 67108864 bytes to the host"));
    CHECK(vm->console().contains("init: the port nobody listens on: Connection reset by peer"));

    co_await dial_and_echo(reactor, device, kManyBytes);
    CHECK_EQ((co_await device.connect(7001, {})).error().code, Code::closed);
    reactor::Scope scope(reactor);
    for (int i = 0; i < 8; ++i) scope.spawn(dial_and_echo(reactor, device, 1 << 20));
    co_await scope.join();
    // One that is idle when its guest goes.
    auto idle = co_await device.connect(kEchoPort, {});
    CHECK(idle.has_value());
    // All others were closed by both sides.
    for (int i = 0; i < 500 && device.connections() > 1; ++i) co_await reactor::SleepOp::for_ms(reactor, 10);
    CHECK_EQ(device.connections(), 1U);
    co_await vm->destroy();
    if (idle) {
      std::array<std::byte, 1> byte;
      CHECK_EQ((co_await reactor::ReceiveOp(reactor, idle->get(), byte)).value_or(1), 0U);
    }
  }
  co_await vm->destroy();
  co_await device.stop();
}

}  // namespace

TEST_CASE("64 MiB pass both ways between Linux's driver and the host, whoever dials") {
  Host host;
  vsock::Vsock device(*host.reactor, {});
  host.reactor->run(run_all(host, device));
  CHECK_EQ(device.connections(), 0U);
}

}  // namespace lambdo::kvm

int main(int argc, char** argv) {
  const auto probe = lambdo::kvm::probe_kvm();
  if (!probe || !probe->usable()) {
    std::printf("KVM is not usable here: %s\n",
                probe ? probe->reason.c_str() : probe.error().message.c_str());
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
