#include "reactor/interrupt.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <span>

#include "reactor/operations.h"

namespace lambdo::reactor {

Result<Fd> signal_descriptor() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) < 0) return fail_errno("sigprocmask");
  ::signal(SIGPIPE, SIG_IGN);
  const int fd = ::signalfd(-1, &signals, SFD_CLOEXEC);
  if (fd < 0) return fail_errno("signalfd");
  return Fd(fd);
}

Result<Interrupt> Interrupt::create() {
  return Interrupt(TRY(signal_descriptor()));
}

void Interrupt::start(reactor::Reactor& reactor) {
  watch_ = std::make_unique<Watch>(reactor);
  watch_->scope.spawn(wait(reactor));
}

reactor::Task<> Interrupt::wait(reactor::Reactor& reactor) {
  while (true) {
    signalfd_siginfo info{};
    const auto count = co_await reactor::ReadOp(
        reactor, signals_.get(), std::as_writable_bytes(std::span(&info, 1)), watch_->scope.token());
    if (!count) co_return;
    if (signal_) ::_exit(kSignalBase + static_cast<int>(info.ssi_signo));
    signal_ = static_cast<int>(info.ssi_signo);
    watch_->work.cancel();
  }
}

reactor::Task<> Interrupt::stop() {
  watch_->scope.cancel();
  co_await watch_->scope.join();
}

}  // namespace lambdo::reactor
