// From the guest to the host.

#include <sys/socket.h>

#include <string>
#include <utility>

#include "base/syscalls.h"
#include "vsock/device.h"

namespace lambdo::vsock {

using virtio::DescriptorChain;
using virtio::Work;

Result<Work> Vsock::take_packets() {
  virtio::Queue& packets = queue(kTxQueue);
  virtio::WorkBudget budget(kWakeUpLimits, reactor_.now_ns());
  packets.disable_notifications();
  while (budget.begin_round(reactor_.now_ns())) {
    const auto chain = TRY(packets.pop());
    if (!chain) {
      if (!packets.enable_notifications()) return Work::drained;
      continue;
    }
    budget.spend(take_packet(*chain));
    TRY(packets.push_used(chain->head(), 0));
  }
  return Work::more;
}

/// Handles one packet for good, and returns how much it carried. Nothing the guest says in it is an error of
/// the device: it is ignored, or its connection is reset.
uint32_t Vsock::take_packet(const DescriptorChain& chain) {
  RawHeader raw;
  if (chain.copy_readable(0, raw) < raw.size()) return 0;
  const Header header = decode(raw);
  const auto place = streams_.find({header.dst_port, header.src_port});
  Stream* stream = place != streams_.end() ? place->second.get() : nullptr;
  switch (admit(header, options_.guest_cid, chain.readable_bytes() - raw.size())) {
    case Admission::ignore:
      return 0;
    case Admission::refuse:
      // A connection of another type is none of ours, even where its ports are.
      if (stream == nullptr || header.type != kTypeStream) {
        refuse(header);
      } else {
        reset_connection(*stream);
      }
      return 0;
    case Admission::accept:
      break;
  }
  if (stream != nullptr) {
    take_for(*stream, header, chain);
  } else if (op_of(header) == Op::request) {
    accept(header);
  } else {
    refuse(header);
  }
  return header.len_bytes;
}

void Vsock::take_for(Stream& stream, const Header& header, const DescriptorChain& chain) {
  switch (stream.connection.receive(header)) {
    case Reaction::none:
      break;
    case Reaction::established:
      end_dial(stream, true);
      break;
    case Reaction::data:
      stream.take(chain, header.len_bytes);
      break;
    case Reaction::shut_down:
      // Both ways is how the guest closes, and it waits for the reset (Linux: for 8 s).
      if (!stream.connection.guest_sends() && !stream.connection.guest_receives()) {
        return reset_connection(stream);
      }
      stream.follow_guest_shutdown();
      break;
    case Reaction::ended:
      return detach(stream);
    case Reaction::violation:
      return reset_connection(stream);
  }
  update(stream);
}

void Vsock::accept(const Header& request) {
  const auto listener = listeners_.find(request.dst_port);
  if (listener == listeners_.end() || is_stopping_ || connections() >= options_.max_connections) {
    return refuse(request);
  }
  auto sockets = sys::socketpair(SOCK_STREAM);
  if (!sockets) return refuse(request);
  update(add(Connection::accepted(request, options_.buffer_bytes), std::move(sockets->first)));
  // The handler may close its own port: it is not in the table while it runs.
  Accepted handler = std::exchange(listener->second, nullptr);
  handler(std::move(sockets->second), request.src_port);
  const auto still = listeners_.find(request.dst_port);
  if (still != listeners_.end() && !still->second) still->second = std::move(handler);
}

void Vsock::refuse(const Header& header) {
  // A reset is never answered, or two sides could go on for ever.
  if (op_of(header) != Op::reset) refuse({header.dst_port, header.src_port}, header.type);
}

void Vsock::refuse(const Ports& ports, uint16_t type) {
  // A guest that takes no packets loses the answers to those it sends.
  if (!context_ || refusal_count_ == kMaxRefusals) return;
  refusals_[(first_refusal_ + refusal_count_++) % kMaxRefusals] = {ports, type};
  wake();
}

}  // namespace lambdo::vsock
