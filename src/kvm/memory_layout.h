#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

/// The guest-physical memory map.
///
/// | from          | to            | what                                                                 |
/// |---------------|---------------|----------------------------------------------------------------------|
/// | 0x0000'0000   | 0x0000'1000   | left alone: the kernel never uses page 0                             |
/// | 0x0000'1000   | 0x0000'2000   | boot GDT                                                             |
/// | 0x0000'2000   | 0x0000'8000   | boot page tables: PML4, PDPT, four page directories (2 MiB pages)    |
/// | 0x0000'8000   | 0x0000'9000   | zero page (struct boot_params)                                       |
/// | 0x0000'9000   | 0x0000'a000   | command line, at most 2048 bytes with its NUL                        |
/// | 0x0000'a000   | 0x0000'b000   | boot stack                                                           |
/// | 0x0009'fc00   | 0x000a'0000   | where an EBDA would be: reserved, and empty                          |
/// | 0x000e'0000   | 0x0010'0000   | ACPI: RSDP first, then the tables                                    |
/// | 0x0010'0000   | end           | kernel at its own physical addresses; initrd as high as it may go    |
/// | 0xc000'0000   | 0x1'0000'0000 | the MMIO hole: no RAM                                                |
/// | 0xd000'0000   | 0xd000'8000   | eight virtio-mmio windows of 4 KiB, interrupts (GSI) 16 to 23        |
/// | 0xfec0'0000   |               | I/O APIC                                                             |
/// | 0xfee0'0000   |               | local APICs                                                          |
/// | 0xfffb'c000   | 0xfffc'0000   | KVM's own on Intel: identity map page, three TSS pages               |
/// | 0x1'0000'0000 | end           | the RAM beyond the first 3 GiB                                       |
namespace lambdo::kvm {

inline constexpr uint64_t kMiB = 1 << 20;
inline constexpr uint64_t kGiB = 1 << 30;
inline constexpr uint64_t kPageBytes = 4096;

inline constexpr uint64_t kMinRamBytes = 64 * kMiB;
inline constexpr uint64_t kMaxRamBytes = 16 * kGiB;
inline constexpr uint32_t kMaxVcpus = 8;

inline constexpr uint64_t kGdtAddr = 0x1000;
inline constexpr uint64_t kPageTablesAddr = 0x2000;
inline constexpr uint64_t kZeroPageAddr = 0x8000;
inline constexpr uint64_t kCommandLineAddr = 0x9000;
inline constexpr uint64_t kBootStackEnd = 0xb000;
inline constexpr uint64_t kLowRamEnd = 0x9fc00;
inline constexpr uint64_t kEbdaEnd = 0xa0000;
inline constexpr uint64_t kAcpiAddr = 0xe0000;
inline constexpr uint64_t kHighRamAddr = 0x100000;

inline constexpr uint64_t kMmioHoleAddr = 3 * kGiB;
inline constexpr uint64_t kMmioHoleEnd = 4 * kGiB;
inline constexpr uint64_t kVirtioMmioAddr = 0xd0000000;
inline constexpr uint64_t kVirtioMmioBytes = kPageBytes;
inline constexpr uint32_t kMaxVirtioDevices = 8;
/// The upper eight pins of the I/O APIC, which no ISA device and no 8259 shares.
inline constexpr uint32_t kFirstVirtioGsi = 16;
inline constexpr uint64_t kIoApicAddr = 0xfec00000;
inline constexpr uint64_t kLocalApicAddr = 0xfee00000;
inline constexpr uint64_t kIdentityMapAddr = 0xfffbc000;
inline constexpr uint64_t kTssAddr = 0xfffbd000;

/// Port I/O devices that the tables and the command line name.
inline constexpr uint16_t kSerialPort = 0x3f8;
inline constexpr uint16_t kSerialPortCount = 8;
inline constexpr uint32_t kSerialGsi = 4;
/// A reset is kResetValue written here: the i8042's command port, which is also the FADT's RESET_REG.
inline constexpr uint16_t kResetPort = 0x64;
inline constexpr uint8_t kResetValue = 0xfe;
/// Power off is kPowerOffValue written here (ACPI 6.4, 4.8.3.7: SLP_EN, and SLP_TYP 5 as _S5_ says). The port
/// after it is the status register: reads 0, writes are ignored.
inline constexpr uint16_t kSleepControlPort = 0x600;
inline constexpr uint16_t kSleepStatusPort = 0x601;
inline constexpr uint8_t kPowerOffValue = (5 << 2) | (1 << 5);

struct AddressRange {
  uint64_t addr = 0;
  uint64_t len_bytes = 0;

  [[nodiscard]] uint64_t end() const { return addr + len_bytes; }
  bool operator==(const AddressRange&) const = default;
};

/// Types of boot.rst's e820 table.
enum class E820Type : uint32_t { ram = 1, reserved = 2, acpi = 3 };

struct E820Entry {
  AddressRange range;
  E820Type type = E820Type::ram;
  bool operator==(const E820Entry&) const = default;
};

/// A virtio-mmio device's window and interrupt.
struct MmioWindow {
  uint64_t addr = 0;
  uint32_t gsi = 0;
};

/// The window of device `index`, which is under kMaxVirtioDevices.
MmioWindow virtio_window(uint32_t index);

/// Where a guest's RAM is: one or two ranges, which are also its memory slots.
class RamLayout {
 public:
  /// `ram_bytes` from 64 MiB to 16 GiB in whole MiB (invalid_argument).
  static Result<RamLayout> create(uint64_t ram_bytes);

  /// From address 0; the second from 4 GiB, where there is more than 3 GiB.
  [[nodiscard]] std::span<const AddressRange> ranges() const { return {ranges_.data(), count_}; }
  [[nodiscard]] uint64_t ram_bytes() const;
  /// Whether the whole range is RAM at or above 1 MiB, free for kernel and initrd.
  [[nodiscard]] bool loadable(const AddressRange& range) const;
  /// Ascending, without overlaps.
  [[nodiscard]] std::vector<E820Entry> e820() const;

 private:
  std::array<AddressRange, 2> ranges_{};
  size_t count_ = 0;
};

/// The highest page-aligned place for an initrd below the MMIO hole that ends at or before `addr_limit` and
/// starts at or after `kernel_end` (invalid_argument, with the sizes, where there is none).
Result<AddressRange> place_initrd(const RamLayout& ram, uint64_t kernel_end, uint64_t initrd_bytes,
                                  uint64_t addr_limit = kMmioHoleAddr);

/// For messages: "12.3 MiB".
std::string in_mib(uint64_t bytes);

}  // namespace lambdo::kvm
