#include "kvm/serial.h"

#include <linux/serial_reg.h>
#include <sys/eventfd.h>

#include <string_view>

#include "base/syscalls.h"

#include "test.h"

namespace lambdo::kvm {

namespace {

struct Port {
  Fd irq = sys::eventfd(0, EFD_NONBLOCK).value();
  Console console;
  SerialPort serial{console, irq.get()};

  /// Interrupts since the last call.
  [[nodiscard]] eventfd_t interrupts() const {
    eventfd_t count = 0;
    return ::eventfd_read(irq.get(), &count) == 0 ? count : 0;
  }
};

}  // namespace

TEST_CASE("what is transmitted is on the console, and the transmitter is always empty") {
  Port port;
  for (const char byte : std::string_view("hi\n")) port.serial.write(UART_TX, static_cast<uint8_t>(byte));
  CHECK_EQ(port.console.text(), "hi\n");
  CHECK_EQ(port.serial.read(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
  CHECK_EQ(port.interrupts(), 0);
}

TEST_CASE("the divisor latch hides transmitter and interrupt enable") {
  Port port;
  port.serial.write(UART_IER, 5);
  port.serial.write(UART_LCR, UART_LCR_DLAB);
  port.serial.write(UART_DLL, 0x34);
  port.serial.write(UART_DLM, 0x12);
  CHECK_EQ(port.serial.read(UART_DLL), 0x34);
  CHECK_EQ(port.serial.read(UART_DLM), 0x12);
  port.serial.write(UART_LCR, 3);
  CHECK_EQ(port.serial.read(UART_IER), 5);
  CHECK_EQ(port.serial.read(UART_RX), 0);
  CHECK_EQ(port.console.text(), "");
}

TEST_CASE("a driver finds a 16550A: scratch, four interrupt bits, loopback of the modem lines, FIFOs") {
  Port port;
  port.serial.write(UART_SCR, 0xa5);
  CHECK_EQ(port.serial.read(UART_SCR), 0xa5);
  port.serial.write(UART_IER, 0xff);
  CHECK_EQ(port.serial.read(UART_IER), 0x0f);
  struct Row {
    uint8_t outputs;
    uint8_t inputs;
  };
  for (const Row& row :
       {Row{UART_MCR_RTS, UART_MSR_CTS}, Row{UART_MCR_DTR, UART_MSR_DSR}, Row{UART_MCR_OUT1, UART_MSR_RI},
        Row{UART_MCR_OUT2, UART_MSR_DCD}, Row{0x0a, 0x90}}) {
    port.serial.write(UART_MCR, UART_MCR_LOOP | row.outputs);
    CHECK_EQ(port.serial.read(UART_MSR), row.inputs);
  }
  CHECK_EQ(port.serial.read(UART_IIR) & 0xc0, 0);
  port.serial.write(UART_FCR, UART_FCR_ENABLE_FIFO);
  CHECK_EQ(port.serial.read(UART_IIR) & 0xc0, 0xc0);
}

TEST_CASE("looped back bytes are received and never reach the console") {
  Port port;
  port.serial.write(UART_IER, UART_IER_RDI);
  port.serial.write(UART_MCR, UART_MCR_LOOP);
  port.serial.write(UART_TX, 'x');
  CHECK_EQ(port.interrupts(), 1);
  CHECK_EQ(port.serial.read(UART_IIR), UART_IIR_RDI);
  CHECK_EQ(port.serial.read(UART_LSR) & UART_LSR_DR, UART_LSR_DR);
  CHECK_EQ(port.serial.read(UART_RX), 'x');
  CHECK_EQ(port.serial.read(UART_LSR) & UART_LSR_DR, 0);
  CHECK_EQ(port.console.text(), "");
}

TEST_CASE(
    "the transmitter's interrupt comes when it is enabled and when a byte is gone, once until asked for") {
  Port port;
  port.serial.write(UART_IER, UART_IER_THRI);
  CHECK_EQ(port.interrupts(), 1);
  CHECK_EQ(port.serial.read(UART_IIR), UART_IIR_THRI);
  CHECK_EQ(port.serial.read(UART_IIR), UART_IIR_NO_INT);
  for (int i = 0; i < 16; ++i) port.serial.write(UART_TX, 'x');
  CHECK_EQ(port.interrupts(), 1);
  port.serial.write(UART_IER, 0);
  CHECK_EQ(port.serial.read(UART_IIR), UART_IIR_NO_INT);
  port.serial.write(UART_TX, 'x');
  CHECK_EQ(port.interrupts(), 0);
}

TEST_CASE("the console keeps the last bytes and counts all") {
  Console console(8);
  for (const char byte : std::string_view("0123456789ab")) console.append(byte);
  CHECK_EQ(console.text(), "456789ab");
  CHECK_EQ(console.total_bytes(), 12);
}

TEST_CASE("the last lines of a console are printable and without empty ones") {
  CHECK_EQ(last_console_lines("one\r\ntwo\r\n\r\n\x1b[31mred\r\n", 2), "two\n?[31mred");
  CHECK_EQ(last_console_lines("no newline", 5), "no newline");
  CHECK_EQ(last_console_lines("", 5), "");
  CHECK_EQ(last_console_lines("a\nb", 0), "");
}

TEST_CASE("a panic is told from the console, other talk of panics is none") {
  CHECK(console_shows_panic("[    1.0] Kernel panic - not syncing: Attempted to kill init!\n"));
  CHECK_FALSE(console_shows_panic("panic=-1"));
}

}  // namespace lambdo::kvm
