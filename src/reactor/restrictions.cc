#include "reactor/restrictions.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "reactor/ring_setup.h"

namespace lambdo::reactor {

/// Declared by liburing.h, but not exported by every liburing.so that has it (2.3).
static Result<> register_with(const io_uring& ring, unsigned opcode, const void* argument, size_t count,
                              const char* what) {
  if (::syscall(SYS_io_uring_register, ring.ring_fd, opcode, argument, static_cast<unsigned>(count)) < 0) {
    return fail_errno(what);
  }
  return {};
}

Result<> restrict_and_enable(const io_uring& ring) {
  std::array<io_uring_restriction, kRingOperations.size() + 2> rules{};
  size_t count = 0;
  for (const RingOperation& operation : kRingOperations) {
    rules[count].opcode = IORING_RESTRICTION_SQE_OP;
    rules[count++].sqe_op = operation.opcode;
  }
  rules[count].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
  rules[count++].sqe_flags = IOSQE_BUFFER_SELECT;
  // What io_uring_queue_exit() calls. Without it the kernel keeps the ring until the thread ends.
  rules[count].opcode = IORING_RESTRICTION_REGISTER_OP;
  rules[count++].register_op = IORING_UNREGISTER_RING_FDS;
  TRY(register_with(ring, IORING_REGISTER_RESTRICTIONS, rules.data(), count, "IORING_REGISTER_RESTRICTIONS"));
  return register_with(ring, IORING_REGISTER_ENABLE_RINGS, nullptr, 0, "IORING_REGISTER_ENABLE_RINGS");
}

}  // namespace lambdo::reactor
