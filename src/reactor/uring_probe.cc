#include "reactor/uring_probe.h"

#include <liburing.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstdint>
#include <memory>

#include "base/fd.h"
#include "base/mapping.h"
#include "base/syscalls.h"
#include "reactor/ring_setup.h"

namespace lambdo::reactor {

namespace {

constexpr uint16_t kBufferGroup = 0;
constexpr size_t kBufferCount = 8;
constexpr unsigned kBufferBytes = 64;
constexpr long long kWaitNs = 1'000'000'000;

class Ring {
 public:
  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    if (open_) io_uring_queue_exit(&ring_);
  }

  /// 0, or the errno.
  int open() {
    io_uring_params parameters{};
    parameters.flags = kSetupFlags;
    const int result = io_uring_queue_init_params(16, &ring_, &parameters);
    open_ = result == 0;
    return -result;
  }
  io_uring* get() { return &ring_; }
  io_uring_sqe& entry() { return *io_uring_get_sqe(&ring_); }
  void submit() { io_uring_submit(&ring_); }

  /// Takes one completion; true where it succeeded and more are to come from the same submission.
  bool completes_with_more() {
    __kernel_timespec timeout{.tv_sec = 0, .tv_nsec = kWaitNs - 1};
    io_uring_cqe* completion = nullptr;
    if (io_uring_wait_cqe_timeout(&ring_, &completion, &timeout) != 0) return false;
    const int result = completion->res;
    const bool more = (completion->flags & IORING_CQE_F_MORE) != 0;
    io_uring_cqe_seen(&ring_, completion);
    if (result < 0) return false;
    last_result_ = result;
    return more;
  }
  [[nodiscard]] int last_result() const { return last_result_; }

 private:
  io_uring ring_{};
  bool open_ = false;
  int last_result_ = -1;
};

std::string missing_operations(Ring& ring) {
  const std::unique_ptr<io_uring_probe, void (*)(io_uring_probe*)> probe(io_uring_get_probe_ring(ring.get()),
                                                                         io_uring_free_probe);
  if (!probe) return "all (they cannot be asked for)";
  std::string missing;
  for (const auto& [opcode, name] : kRingOperations) {
    if (!io_uring_opcode_supported(probe.get(), opcode))
      missing += (missing.empty() ? "" : ", ") + std::string(name);
  }
  return missing;
}

/// Whether a multishot accept stays armed after its first connection.
Result<bool> try_multishot_accept() {
  Ring ring;
  if (const int error = ring.open(); error != 0) return fail_errno(error, "io_uring_setup");
  Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid() || !client.valid()) return fail_errno("socket");
  // Binding the family alone lets the kernel choose an abstract name (unix(7), autobind).
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  socklen_t len_bytes = sizeof address.sun_family;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), generic, len_bytes) < 0 || ::listen(listener.get(), 1) < 0)
    return fail_errno("listen");
  len_bytes = sizeof address;
  if (::getsockname(listener.get(), generic, &len_bytes) < 0) return fail_errno("getsockname");
  io_uring_prep_multishot_accept(&ring.entry(), listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
  ring.submit();
  if (::connect(client.get(), generic, len_bytes) < 0) return fail_errno("connect");
  const bool stays = ring.completes_with_more();
  const Fd accepted(ring.last_result());
  return stays;
}

/// Whether a ring of provided buffers can be registered and a multishot receive takes from it and stays
/// armed.
Result<bool> try_provided_buffers() {
  const Mapping memory = TRY(Mapping::create(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS));
  std::array<char, kBufferCount * kBufferBytes> buffers{};
  Ring ring;  // after the buffers, so that it is gone before them
  if (const int error = ring.open(); error != 0) return fail_errno(error, "io_uring_setup");
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uint64_t>(memory.bytes().data());
  registration.ring_entries = kBufferCount;
  registration.bgid = kBufferGroup;
  if (io_uring_register_buf_ring(ring.get(), &registration, 0) < 0) return false;
  auto* buffer_ring = reinterpret_cast<io_uring_buf_ring*>(memory.bytes().data());
  io_uring_buf_ring_init(buffer_ring);
  for (size_t id = 0; id < kBufferCount; ++id) {
    io_uring_buf_ring_add(buffer_ring, buffers.data() + id * kBufferBytes, kBufferBytes,
                          static_cast<uint16_t>(id), io_uring_buf_ring_mask(kBufferCount),
                          static_cast<int>(id));
  }
  io_uring_buf_ring_advance(buffer_ring, kBufferCount);
  const auto [receiver, sender] = TRY(sys::socketpair(SOCK_STREAM));
  io_uring_sqe& entry = ring.entry();
  io_uring_prep_recv_multishot(&entry, receiver.get(), nullptr, 0, 0);
  entry.flags |= IOSQE_BUFFER_SELECT;
  entry.buf_group = kBufferGroup;
  ring.submit();
  TRY(sys::write_all(sender.get(), "x"));
  return ring.completes_with_more() && ring.last_result() == 1;
}

}  // namespace

UringSupport probe_uring() {
  UringSupport support;
  Ring ring;
  support.setup_errno = ring.open();
  if (support.setup_errno != 0) return support;
  support.missing_operations = missing_operations(ring);
  support.multishot_accept = try_multishot_accept().value_or(false);
  support.provided_buffers = try_provided_buffers().value_or(false);
  return support;
}

}  // namespace lambdo::reactor
