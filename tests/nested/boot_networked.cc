// Boots an initramfs to its own /init with a network: virtio-net on a TAP that is there already. Lives until
// the guest has ended or it is killed itself.   boot_networked INITRAMFS TAP MAC [PARAMETER...] The
// parameters go onto the end of the kernel's command line. With --command-line alone it prints what that
// begins with.
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "guest.h"
#include "kvm/boot/command_line.h"
#include "net/tap.h"
#include "reactor/blocking_pool.h"
#include "virtio_net/device.h"
#include "vm_host.h"

namespace lambdo::kvm {

namespace {

constexpr int64_t kLimitMs = 3'600'000;

/// Says why there is no guest.
int give_up(const Error& error) {
  std::fprintf(stderr, "boot_networked: %s\n", error.message.c_str());
  return 1;
}

reactor::Task<Result<fixture::Outcome>> run_with(fixture::Host& host, virtio_net::Net& net, VmConfig config) {
  config.devices = {&net};
  auto outcome = co_await fixture::run_vm(*host.reactor, host.threads, std::move(config), kLimitMs);
  co_await net.stop();
  co_return outcome;
}

Result<std::string> command_line(int count, char** parameters) {
  CommandLine line = CommandLine::defaults();
  for (int i = 0; i < count; ++i) TRY(line.add(parameters[i]));
  return line.text();
}

Result<fixture::Outcome> boot(const std::string& image_path, const std::string& tap_name,
                              const MacAddress& mac, const std::string& line) {
  const auto image = guest::read_bytes(image_path);
  auto archive = TRY(BootArchive::create({}, image));
  auto end = TRY(net::open_tap(tap_name));
  auto tap = TRY(virtio_net::Tap::adopt(std::move(end)));
  const auto token = TRY(BootToken::random());
  fixture::Host host;
  reactor::BlockingPool pool(*host.reactor, 1);
  virtio_net::Net net(*host.reactor, pool, std::move(tap), {.mac = mac});
  return host.reactor->run(
      run_with(host, net,
               {.source = {.kernel = guest::kernel(),
                           .initrd = std::make_shared<const BootArchive>(std::move(archive)),
                           .token = token,
                           .command_line = line}}));
}

int run(int argc, char** argv) {
  const auto mac = MacAddress::parse(argv[3]);
  if (!mac) {
    std::fprintf(stderr, "boot_networked: %s is no MAC address\n", argv[3]);
    return 2;
  }
  const auto line = command_line(argc - 4, argv + 4);
  if (!line) return give_up(line.error());
  const auto outcome = boot(argv[1], argv[2], *mac, *line);
  if (!outcome) return give_up(outcome.error());
  std::fwrite(outcome->console.data(), 1, outcome->console.size(), stdout);
  return outcome->exit.end == VmEnd::power_off ? 0 : 1;
}

}  // namespace

}  // namespace lambdo::kvm

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--command-line") == 0) {
    std::puts(lambdo::kvm::CommandLine::defaults().text().c_str());
    return 0;
  }
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s INITRAMFS TAP MAC [PARAMETER...], or %s --command-line\n", argv[0],
                 argv[0]);
    return 2;
  }
  return lambdo::kvm::run(argc, argv);
}
