#include "net/helper_main.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "base/capabilities.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "net/helper_filter.h"
#include "net/helper_protocol.h"
#include "reactor/helper/process.h"
#include "reactor/helper/requests.h"
#include "reactor/helper/socket.h"

namespace lambdo::net {

namespace {

using helper::Message;

constexpr int kPredecessorTimeoutMs = 5000;
// After a port could not be made, before the next attempt.
constexpr int kRetryMs = 1000;

Result<> give_up_rights(PortKind kind) {
  uint64_t kept = sys::capability_bit(CAP_NET_ADMIN);
  // To enter and leave the network namespaces that it makes.
  if (kind == PortKind::veth) kept |= sys::capability_bit(CAP_SYS_ADMIN);
  TRY(sys::keep_capabilities(kept));
  return install_helper_filter();
}

Result<HostNetwork> open_network(const HostNetworkSettings& settings) {
  const long long deadline_ns = sys::monotonic_ns() + kPredecessorTimeoutMs * 1'000'000LL;
  while (true) {
    auto opened = HostNetwork::open(settings);
    if (opened) return opened;
    const int reason = opened.error().os_errno;
    const bool taken =
        opened.error().code == Code::unavailable && (reason == EWOULDBLOCK || reason == EADDRINUSE);
    if (!taken || sys::monotonic_ns() > deadline_ns) return opened;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

class Service {
 public:
  Service(HostNetwork& network, int socket)
      : network_(&network), requests_(socket, helper_protocol(), "network helper") {}

  /// Serves until the server is gone.
  void run() {
    while (true) {
      pollfd readable{.fd = requests_.socket(), .events = POLLIN, .revents = 0};
      const int count = ::poll(&readable, 1, pause_ms_);
      if (count < 0 && errno != EINTR) return;
      if (count == 0) make_one();
      if (count > 0 && !serve_one()) return;
    }
  }

 private:
  void make_one() {
    const auto made = network_->refill_one();
    if (!made) log::error("network helper: no port for the next guest", {{"error", made.error().message}});
    pause_ms_ = !made ? kRetryMs : *made ? 0 : -1;
  }

  /// False when the server is gone.
  bool serve_one() {
    const std::optional<helper::Received> received = requests_.receive();
    if (!received) return !requests_.server_is_gone();
    const Message& request = received->message;
    if (request.kind == HelperKind::attach) {
      attach(request);
    } else {
      requests_.answer(request.request, perform(request));
    }
    return true;
  }

  void attach(const Message& request) {
    auto guest = attach_guest(request);
    pause_ms_ = 0;
    if (!guest) return requests_.answer(request.request, std::unexpected(std::move(guest).error()));
    requests_.answer(request.request, encode_guest(*guest), {guest->end.get()});
  }

  Result<AttachedGuest> attach_guest(const Message& request) {
    const Policy policy = TRY(decode_policy(request));
    return network_->attach(request.texts[0], policy, sys::monotonic_ns());
  }

  Result<Message> perform(const Message& request) {
    switch (request.kind) {
      case HelperKind::detach:
        TRY(network_->detach(request.texts[0], sys::monotonic_ns()));
        return Message{.kind = HelperKind::success};
      case HelperKind::set_policy: {
        const Policy policy = TRY(decode_policy(request));
        TRY(network_->set_policy(request.texts[0], policy));
        return Message{.kind = HelperKind::success};
      }
      case HelperKind::counters:
        return encode_counters(TRY(network_->counters(request.texts[0])));
      default:
        return fail(Code::invalid_argument, "not a request");
    }
  }

  HostNetwork* network_;
  helper::Requests requests_;
  int pause_ms_ = 0;
};

Result<> serve(const HostNetworkSettings& settings, Fd& socket) {
  Fd* const kept[] = {&socket};
  TRY(helper::settle_process("lambdo-network", kept));
  TRY(give_up_rights(settings.kind));
  HostNetwork network = TRY(open_network(settings));
  TRY(helper::send_message(socket.get(), helper_protocol(), {.kind = HelperKind::ready}));
  Service(network, socket.get()).run();
  return network.close();
}

}  // namespace

int helper_main(const HostNetworkSettings& settings, Fd socket) {
  const Result<> served = serve(settings, socket);
  if (served) return 0;
  // Before it is ready the server waits for one message, this one. Later nobody may be there any more.
  if (!helper::send_message(socket.get(), helper_protocol(), helper::encode_failure(served.error()))) {
    log::error("network helper: something is left, and removed by the next start",
               {{"error", served.error().message}});
  }
  return 1;
}

}  // namespace lambdo::net
