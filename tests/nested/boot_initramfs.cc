// Boots an initramfs as it is, with nothing of ours around it, to its own /init; prints its console and how
// it ended. For tests of what `lambdo initramfs` writes.
#include <cstdio>

#include "guest.h"
#include "kvm/boot/command_line.h"
#include "vm_host.h"

namespace lambdo::kvm {

namespace {

constexpr int64_t kBootLimitMs = 300'000;

int boot(const std::string& path) {
  const auto image = guest::read_bytes(path);
  auto archive = BootArchive::create({}, image);
  if (!archive) {
    std::fprintf(stderr, "%s: %s\n", path.c_str(), archive.error().message.c_str());
    return 1;
  }
  VmConfig config{.ram_bytes = 512 * kMiB,
                  .source = {.kernel = guest::kernel(),
                             .initrd = std::make_shared<const BootArchive>(std::move(*archive)),
                             .token = *BootToken::random(),
                             .command_line = CommandLine::defaults().text()}};
  fixture::Host host;
  const auto outcome = host.run(std::move(config), kBootLimitMs);
  if (!outcome) {
    std::fprintf(stderr, "cannot boot: %s\n", outcome.error().message.c_str());
    return 1;
  }
  std::fwrite(outcome->console.data(), 1, outcome->console.size(), stdout);
  if (outcome->exit.end == VmEnd::power_off) return 0;
  std::fprintf(stderr, "the guest did not power itself off within %lld s\n",
               static_cast<long long>(kBootLimitMs / 1000));
  return 1;
}

}  // namespace

}  // namespace lambdo::kvm

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s INITRAMFS\n", argv[0]);
    return 2;
  }
  return lambdo::kvm::boot(argv[1]);
}
