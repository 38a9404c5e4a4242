#include "machine.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/check.h"
#include "base/syscalls.h"
#include "kvm/boot/boot_archive.h"

namespace lambdo::agent {

static constexpr unsigned kGuestCid = 9;
static constexpr int kPatience_ms = 60'000;

std::vector<std::byte> read_bytes(const std::string& path) {
  const std::string text = sys::read_file(path, 1 << 30).value();
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

static sockaddr_vm vsock_address(unsigned cid, unsigned port) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  return address;
}

static std::string kernel_folder() {
  const char* folder = std::getenv("LAMBDO_GUEST_KERNEL");
  return folder != nullptr ? folder : "build/guest-kernel";
}

/// Writes the initrd to `path`; returns what rdinit= takes.
static std::string write_initrd(const std::string& path, std::span<const std::byte> image,
                                const std::string& config) {
  const auto modules = kvm::ModulesFolder::open(kernel_folder() + "/modules").value();
  const auto needed = modules.resolve(kvm::kGuestModules).value();
  const auto agent = read_bytes(LAMBDO_AGENT);
  const auto archive = kvm::BootArchive::create({agent, needed, config}, image).value();
  const auto token = kvm::BootToken::random().value();
  const auto bytes = archive.bytes(token);
  const Fd file = sys::open(path, O_WRONLY | O_CREAT, 0600).value();
  CHECK(sys::write_all(file.get(), {reinterpret_cast<const char*>(bytes.data()), bytes.size()}).has_value());
  return token.init_path();
}

Machine::Machine(std::span<const std::byte> image, const std::string& config, ApiService& api) {
  char folder[] = "/tmp/lambdo-machine-test-XXXXXX";
  CHECK(::mkdtemp(folder) != nullptr);
  folder_ = folder;
  grpc::ServerBuilder builder;
  builder.RegisterService(&api);
  server_ = builder.BuildAndStart();
  listener_ = Fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_vm address = vsock_address(VMADDR_CID_ANY, kRegisterPort);
  CHECK(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(::listen(listener_.get(), 1) == 0);
  stop_ = sys::eventfd(0).value();
  accepting_ = std::thread([this] { accept_guests(); });

  const std::string init = write_initrd(folder_ + "/initrd", image,
                                        config + "--register-port=" + std::to_string(kRegisterPort) +
                                            "\n--listen-port=" + std::to_string(kListenPort) + '\n');
  std::vector<std::string> arguments = {"qemu-system-x86_64",
                                        "-M",
                                        "microvm,rtc=on",
                                        "-accel",
                                        "kvm",
                                        "-cpu",
                                        "host",
                                        "-m",
                                        "512",
                                        "-nodefaults",
                                        "-no-user-config",
                                        "-display",
                                        "none",
                                        "-no-reboot",
                                        "-serial",
                                        "file:" + folder_ + "/console",
                                        "-device",
                                        "vhost-vsock-device,guest-cid=9",
                                        "-kernel",
                                        kernel_folder() + "/vmlinux",
                                        "-initrd",
                                        folder_ + "/initrd",
                                        "-append",
                                        "console=ttyS0 quiet reboot=t panic=-1 rdinit=" + init};
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  CHECK(::posix_spawnp(&pid_, argv[0], nullptr, nullptr, argv.data(), environ) == 0);
}

Machine::~Machine() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  CHECK(::eventfd_write(stop_.get(), 1) == 0);
  accepting_.join();
  server_->Shutdown(std::chrono::system_clock::now());
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void Machine::accept_guests() {
  while (true) {
    pollfd waiting[] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(waiting, 2, -1) < 0 || waiting[1].revents != 0) return;
    const int guest = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (guest < 0) return;
    grpc::AddInsecureChannelFromFd(server_.get(), guest);
  }
}

std::unique_ptr<proto::LambdoAgentService::Stub> Machine::dial() {
  Fd socket(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_vm address = vsock_address(kGuestCid, kListenPort);
  CHECK(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK(::fcntl(socket.get(), F_SETFL, O_NONBLOCK) == 0);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return proto::LambdoAgentService::NewStub(
      grpc::CreateCustomInsecureChannelFromFd("guest", socket.release(), arguments));
}

bool Machine::wait() {
  const Fd process = sys::pidfd_open(pid_).value();
  pollfd ended{process.get(), POLLIN, 0};
  if (::poll(&ended, 1, kPatience_ms) != 1) return false;
  ::waitpid(std::exchange(pid_, -1), nullptr, 0);
  return true;
}

std::string Machine::console() {
  return sys::read_file(folder_ + "/console").value_or("");
}

}  // namespace lambdo::agent
