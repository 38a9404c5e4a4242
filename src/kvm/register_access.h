#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace lambdo::kvm {

/// A guest's read or write of a register of a virtio device.
struct RegisterRequest {
  uint32_t device = 0;  ///< index
  uint64_t offset = 0;  ///< within the device's window
  bool is_write = false;
  size_t len_bytes = 0;
  std::array<std::byte, 8> bytes{};

  /// What is written, or where the answer to a read goes.
  [[nodiscard]] std::span<std::byte> data() { return std::span(bytes).first(len_bytes); }
};

/// How one vCPU waits for a register of a device, which only the reactor may touch. The vCPU's thread calls
/// begin(), has the reactor called, and sleeps in wait(); the reactor serves request() and calls answer().
/// A vCPU makes one access at a time, so each has one of these for its whole life.
class RegisterAccess {
 public:
  /// On the vCPU's thread. False once abandoned: then the reactor is not to be called.
  [[nodiscard]] bool begin(const RegisterRequest& request);
  /// On the vCPU's thread, after begin(): whether the reactor has answered, in request(). False where the
  /// access was abandoned, also while the reactor may still serve it.
  [[nodiscard]] bool wait();

  /// The reactor's between begin() and answer(), the vCPU's thread's after that.
  [[nodiscard]] RegisterRequest& request() { return request_; }
  /// On the reactor: wakes the vCPU's thread.
  void answer();

  /// On any thread, because the vCPU is to stop: ends wait(), and refuses all accesses from then on.
  void abandon();

 private:
  enum class State : uint32_t { idle, waiting, abandoned };

  std::atomic<State> state_ = State::idle;
  RegisterRequest request_;
};

}  // namespace lambdo::kvm
