// How long a guest takes from its start to init's first word on the serial port: ours against QEMU's microvm,
// same vmlinux, initramfs and command line, in turns.   bench_boot [ROUNDS]
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "guest.h"
#include "reactor/stream.h"
#include "reactor/timer.h"
#include "vm_host.h"

namespace lambdo::kvm {

namespace {

constexpr std::string_view kWord = "init: it speaks";
constexpr int64_t kLimitNs = 300'000'000'000;

double to_ms(int64_t duration_ns) {
  return static_cast<double>(duration_ns) / 1e6;
}

[[noreturn]] void give_up(const std::string& why) {
  std::printf("%s\n", why.c_str());
  std::exit(1);
}

struct Ours {
  double total_ms = 0;
  VmTimings timings;
};

reactor::Task<Ours> time_ours(fixture::Host& host, VmConfig config) {
  const int64_t start_ns = host.reactor->now_ns();
  auto vm = co_await Vm::start(*host.reactor, host.threads, std::move(config));
  if (!vm) give_up("cannot start: " + vm.error().message);
  uint64_t seen_bytes = 0;
  while (true) {
    const int64_t now_ns = host.reactor->now_ns();
    if ((*vm)->console_bytes() != seen_bytes) {
      seen_bytes = (*vm)->console_bytes();
      if ((*vm)->console().contains(kWord)) {
        co_await (*vm)->destroy();
        co_return Ours{.total_ms = to_ms(now_ns - start_ns), .timings = (*vm)->timings()};
      }
    }
    if (now_ns - start_ns > kLimitNs) give_up("no word in time; the console:\n" + (*vm)->console());
    (void)co_await reactor::SleepOp::for_ms(*host.reactor, 1);
  }
}

/// Until the word comes out of `fd`; what came is in `seen`.
bool await_word(int fd, std::string& seen) {
  std::array<char, 4096> buffer;
  while (!seen.contains(kWord)) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count <= 0) return false;
    seen.append(buffer.data(), static_cast<size_t>(count));
  }
  return true;
}

double time_qemu(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  auto [reading, writing] = sys::pipe().value();
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, writing.get(), STDERR_FILENO);
  pid_t qemu = 0;
  const int64_t start_ns = sys::monotonic_ns();
  if (::posix_spawnp(&qemu, arguments[0], &actions, nullptr, arguments.data(), environ) != 0) {
    give_up("cannot start " + command[0]);
  }
  ::posix_spawn_file_actions_destroy(&actions);
  writing.reset();
  std::string seen;
  const bool spoke = await_word(reading.get(), seen);
  const int64_t end_ns = sys::monotonic_ns();
  ::kill(qemu, SIGKILL);
  ::waitpid(qemu, nullptr, 0);
  if (!spoke) give_up("QEMU ended without the word:\n" + seen);
  return to_ms(end_ns - start_ns);
}

/// `timeout` ends a QEMU whose guest hangs.
std::vector<std::string> qemu_command(const std::string& machine, const VmConfig& config,
                                      const std::string& initrd_path) {
  return {"timeout",
          "--signal=KILL",
          "300",
          "qemu-system-x86_64",
          "-M",
          machine,
          "-accel",
          "kvm",
          "-cpu",
          "host",
          "-smp",
          "1",
          "-m",
          "256",
          "-nodefaults",
          "-no-user-config",
          "-display",
          "none",
          "-no-reboot",
          "-serial",
          "stdio",
          "-kernel",
          guest::kernel_folder() + "/vmlinux",
          "-initrd",
          initrd_path,
          "-append",
          config.source.command_line};
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void print_row(const char* what, const std::vector<double>& values, const char* unit) {
  std::printf("%-34s median %9.2f %-2s  min %9.2f  max %9.2f  count %zu\n", what, median(values), unit,
              *std::ranges::min_element(values), *std::ranges::max_element(values), values.size());
}

void print_ours(const std::vector<Ours>& runs) {
  const auto row = [&](const char* what, auto part) {
    std::vector<double> values;
    for (const Ours& run : runs) values.push_back(part(run));
    print_row(what, values, "ms");
  };
  const auto us = [](int64_t value) { return static_cast<double>(value) / 1000; };
  row("ours, thread", [&](const Ours& run) { return us(run.timings.thread_us); });
  row("ours, create VM", [&](const Ours& run) { return us(run.timings.machine.vm_us); });
  row("ours, create memory", [&](const Ours& run) { return us(run.timings.machine.memory_us); });
  row("ours, create devices", [&](const Ours& run) { return us(run.timings.machine.devices_us); });
  row("ours, create vCPU", [&](const Ours& run) { return us(run.timings.machine.vcpus_us); });
  row("ours, load kernel and initramfs", [&](const Ours& run) { return us(run.timings.load_us); });
  row("ours, kernel and init", [&](const Ours& run) { return run.total_ms - us(run.timings.first_run_us); });
  row("ours, all", [&](const Ours& run) { return run.total_ms; });
}

int run(int rounds) {
  struct Rival {
    const char* name;
    std::string machine;
    std::vector<double> times_ms;
    std::vector<double> ratios;
  };
  // The second one has no device that our machine lacks.
  std::array<Rival, 2> rivals = {
      {{"QEMU microvm", "microvm,rtc=on", {}, {}},
       {"QEMU microvm, least", "microvm,rtc=on,pit=off,pic=off,x-option-roms=off", {}, {}}}};
  const VmConfig config = guest::config("wait");
  const std::string initrd_path = "/tmp/bench-boot-initrd";
  (void)sys::write_all(sys::open(initrd_path, O_WRONLY | O_CREAT | O_TRUNC, 0600).value().get(),
                       reactor::as_text(config.source.initrd->bytes(*config.source.token)));
  fixture::Host host;
  std::vector<Ours> ours;
  for (int round = 0; round < rounds; ++round) {
    for (Rival& rival : rivals) {
      ours.push_back(host.reactor->run(time_ours(host, config)));
      rival.times_ms.push_back(time_qemu(qemu_command(rival.machine, config, initrd_path)));
      rival.ratios.push_back(ours.back().total_ms / rival.times_ms.back());
    }
  }
  ::unlink(initrd_path.c_str());
  print_ours(ours);
  for (const Rival& rival : rivals) {
    print_row(rival.name, rival.times_ms, "ms");
    print_row((std::string("ratio ours / ") + rival.name).c_str(), rival.ratios, "");
  }
  return 0;
}

}  // namespace

}  // namespace lambdo::kvm

int main(int argc, char** argv) {
  return lambdo::kvm::run(argc > 1 ? std::atoi(argv[1]) : 5);
}
