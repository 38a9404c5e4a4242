#pragma once

#include <cstdint>
#include <mutex>

#include "kvm/console.h"

namespace lambdo::kvm {

/// The registers of a 16550A UART (National Semiconductor PC16550D) with an output and no input. Thread-safe:
/// vCPU threads access it directly, so that a guest's flood of output costs only that guest.
class SerialPort {
 public:
  /// Output goes to `console`; interrupts are counts on `irq_event`, an eventfd. Both outlive this.
  SerialPort(Console& console, int irq_event) : console_(console), irq_event_(irq_event) {}

  /// `offset` from the port's first register, 0 to 7.
  [[nodiscard]] uint8_t read(uint16_t offset);
  void write(uint16_t offset, uint8_t value);

 private:
  [[nodiscard]] uint8_t read_receiver();
  [[nodiscard]] uint8_t identify_interrupt();
  [[nodiscard]] uint8_t modem_status() const;
  void write_transmitter(uint8_t value);
  void write_interrupt_enable(uint8_t value);
  void raise() const;
  [[nodiscard]] bool divisor_latch() const;

  Console& console_;
  int irq_event_;
  std::mutex mutex_;
  uint8_t interrupt_enable_ = 0;
  uint8_t line_control_ = 0;
  uint8_t modem_control_ = 0x8;  // OUT2: interrupts reach the line
  uint8_t scratch_ = 0;
  uint8_t divisor_low_ = 12;  // 9600 baud
  uint8_t divisor_high_ = 0;
  uint8_t received_ = 0;  // by loopback, the only way anything comes in
  bool has_received_ = false;
  bool fifo_enabled_ = false;
  bool transmitter_interrupt_ = false;  // pending
};

}  // namespace lambdo::kvm
