#include "guest.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

#include "kvm/boot/command_line.h"
#include "kvm/boot/kernel_modules.h"

namespace lambdo::kvm::guest {

namespace {

template <typename T>
T require(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "cannot set up the guest: %s\n", result.error().message.c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

std::vector<KernelModule> modules() {
  const auto folder = require(ModulesFolder::open(kernel_folder() + "/modules"));
  return require(folder.resolve(kGuestModules));
}

}  // namespace

std::string kernel_folder() {
  return environment("LAMBDO_GUEST_KERNEL", "build/guest-kernel");
}

std::string build_folder() {
  return environment("LAMBDO_BUILD", "build/release");
}

std::vector<std::byte> read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto bytes = std::as_bytes(std::span(content));
  return {bytes.begin(), bytes.end()};
}

std::shared_ptr<const KernelImage> kernel(const std::string& name) {
  static std::map<std::string, std::shared_ptr<const KernelImage>> loaded;
  auto& kernel = loaded[name];
  if (!kernel) {
    kernel = std::make_shared<const KernelImage>(require(load_kernel(kernel_folder() + "/" + name)));
  }
  return kernel;
}

std::shared_ptr<const BootArchive> initrd(const std::string& words, bool with_modules) {
  const auto init = read_bytes(build_folder() + "/tests/nested/boot_init");
  std::vector<KernelModule> wanted;
  if (with_modules) wanted = modules();
  return std::make_shared<const BootArchive>(
      require(BootArchive::create({.agent = init, .modules = wanted, .config = words}, {})));
}

VmConfig config(const std::string& words, bool with_modules) {
  const BootToken token = require(BootToken::random());
  CommandLine line = CommandLine::defaults();
  require(line.add("rdinit", token.init_path()));
  return {.source = {.kernel = kernel(),
                     .initrd = initrd(words, with_modules),
                     .token = token,
                     .command_line = line.text()}};
}

}  // namespace lambdo::kvm::guest
