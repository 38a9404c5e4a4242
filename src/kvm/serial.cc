#include "kvm/serial.h"

#include <linux/serial_reg.h>
#include <sys/eventfd.h>

namespace lambdo::kvm {

bool SerialPort::divisor_latch() const {
  return (line_control_ & UART_LCR_DLAB) != 0;
}

uint8_t SerialPort::read(uint16_t offset) {
  // The transmitter is always empty: what is written is gone at once.
  constexpr uint8_t kTransmitterEmpty = UART_LSR_THRE | UART_LSR_TEMT;
  const std::lock_guard lock(mutex_);
  switch (offset) {
    case UART_RX:
      return divisor_latch() ? divisor_low_ : read_receiver();
    case UART_IER:
      return divisor_latch() ? divisor_high_ : interrupt_enable_;
    case UART_IIR:
      return identify_interrupt();
    case UART_LCR:
      return line_control_;
    case UART_MCR:
      return modem_control_;
    case UART_LSR:
      return kTransmitterEmpty | (has_received_ ? UART_LSR_DR : 0);
    case UART_MSR:
      return modem_status();
    case UART_SCR:
      return scratch_;
    default:
      return 0xff;
  }
}

void SerialPort::write(uint16_t offset, uint8_t value) {
  const std::lock_guard lock(mutex_);
  switch (offset) {
    case UART_TX:
      if (divisor_latch()) {
        divisor_low_ = value;
      } else {
        write_transmitter(value);
      }
      return;
    case UART_IER:
      if (divisor_latch()) {
        divisor_high_ = value;
      } else {
        write_interrupt_enable(value);
      }
      return;
    case UART_FCR:
      fifo_enabled_ = (value & UART_FCR_ENABLE_FIFO) != 0;
      if ((value & UART_FCR_CLEAR_RCVR) != 0) has_received_ = false;
      return;
    case UART_LCR:
      line_control_ = value;
      return;
    case UART_MCR:
      modem_control_ = value & 0x1f;
      return;
    case UART_SCR:
      scratch_ = value;
      return;
    default:
      return;
  }
}

uint8_t SerialPort::read_receiver() {
  if (!has_received_) return 0;
  has_received_ = false;
  return received_;
}

uint8_t SerialPort::identify_interrupt() {
  const uint8_t fifo = fifo_enabled_ ? 0xc0 : 0;
  if (has_received_ && (interrupt_enable_ & UART_IER_RDI) != 0) return fifo | UART_IIR_RDI;
  if (!transmitter_interrupt_) return fifo | UART_IIR_NO_INT;
  transmitter_interrupt_ = false;  // reading takes it back
  return fifo | UART_IIR_THRI;
}

uint8_t SerialPort::modem_status() const {
  if ((modem_control_ & UART_MCR_LOOP) == 0) return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
  // In loopback the four outputs are the four inputs; drivers look whether it is so.
  const auto wire = [&](uint8_t output, uint8_t input) {
    return (modem_control_ & output) != 0 ? input : uint8_t{0};
  };
  return wire(UART_MCR_RTS, UART_MSR_CTS) | wire(UART_MCR_DTR, UART_MSR_DSR) |
         wire(UART_MCR_OUT1, UART_MSR_RI) | wire(UART_MCR_OUT2, UART_MSR_DCD);
}

void SerialPort::write_transmitter(uint8_t value) {
  if ((modem_control_ & UART_MCR_LOOP) != 0) {
    received_ = value;
    has_received_ = true;
    if ((interrupt_enable_ & UART_IER_RDI) != 0) raise();
    return;
  }
  console_.append(static_cast<char>(value));
  // One interrupt until the driver has asked which it was, not one a byte.
  if ((interrupt_enable_ & UART_IER_THRI) == 0 || transmitter_interrupt_) return;
  transmitter_interrupt_ = true;
  raise();
}

void SerialPort::write_interrupt_enable(uint8_t value) {
  const bool wanted_before = (interrupt_enable_ & UART_IER_THRI) != 0;
  const bool wanted = (value & UART_IER_THRI) != 0;
  interrupt_enable_ = value & 0xf;
  if (!wanted) transmitter_interrupt_ = false;
  if (!wanted || wanted_before) return;
  transmitter_interrupt_ = true;
  raise();
}

void SerialPort::raise() const {
  ::eventfd_write(irq_event_, 1);
}

}  // namespace lambdo::kvm
