#include "kvm/boot/acpi.h"

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/text.h"
#include "kvm/boot/aml.h"
#include "kvm/boot/byte_writer.h"

// Section numbers are those of ACPI 6.4.
namespace lambdo::kvm {

namespace {

constexpr size_t kRsdpBytes = 36;
constexpr size_t kHeaderBytes = 36;
constexpr size_t kTableAlignment = 16;
constexpr std::string_view kOemId = "LAMBDO";
constexpr std::string_view kOemTableId = "LAMBDOVM";
constexpr std::string_view kCreatorId = "LMBD";
constexpr uint32_t kRevision = 1;

using Table = std::vector<std::byte>;

/// What makes the bytes' sum zero.
std::byte checksum(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const std::byte byte : bytes) sum += std::to_integer<unsigned>(byte);
  return static_cast<std::byte>(0U - sum);
}

/// 5.2.6: the header that all tables but the RSDP have.
Table make_table(std::string_view signature, uint8_t revision, std::span<const std::byte> body) {
  constexpr size_t kChecksumOffset = 9;
  CHECK(signature.size() == 4);
  ByteWriter out;
  out.text(signature).put(static_cast<uint32_t>(kHeaderBytes + body.size())).put(revision).put(uint8_t{0});
  out.text(kOemId).text(kOemTableId).put(kRevision).text(kCreatorId).put(kRevision);
  CHECK(out.size() == kHeaderBytes);
  out.append(body);
  out.bytes()[kChecksumOffset] = checksum(out.bytes());
  return out.take();
}

/// 5.2.5.3, revision 2.
Table make_rsdp(uint64_t xsdt_addr) {
  constexpr size_t kFirstBytes = 20;  // as in ACPI 1.0, with a checksum of their own
  constexpr size_t kFirstChecksumOffset = 8;
  constexpr size_t kChecksumOffset = 32;
  ByteWriter out;
  out.text("RSD PTR ").put(uint8_t{0}).text(kOemId).put(uint8_t{2}).put(uint32_t{0});
  out.put(static_cast<uint32_t>(kRsdpBytes)).put(xsdt_addr).zeros(4);
  CHECK(out.size() == kRsdpBytes);
  out.bytes()[kFirstChecksumOffset] = checksum(out.bytes().first(kFirstBytes));
  out.bytes()[kChecksumOffset] = checksum(out.bytes());
  return out.take();
}

aml::Term serial_port() {
  return aml::device("COM1",
                     aml::join({
                         aml::name("_HID", aml::eisa_id("PNP0501")),
                         aml::name("_UID", aml::integer(0)),
                         aml::name("_CRS", aml::resources({aml::io_ports(kSerialPort, kSerialPortCount),
                                                           aml::interrupt(kSerialGsi)})),
                     }));
}

aml::Term virtio_device(uint32_t index, const MmioWindow& window) {
  // The id is what Linux's virtio_mmio driver and QEMU agreed on.
  return aml::device(
      "VR0" + std::to_string(index),
      aml::join({
          aml::name("_HID", aml::string("LNRO0005")),
          aml::name("_UID", aml::integer(index)),
          aml::name("_CCA", aml::integer(1)),
          aml::name("_CRS", aml::resources({aml::memory_window(static_cast<uint32_t>(window.addr),
                                                               static_cast<uint32_t>(kVirtioMmioBytes)),
                                            aml::interrupt(window.gsi)})),
      }));
}

Table make_dsdt(const AcpiMachine& machine) {
  ByteWriter devices;
  devices.append(serial_port());
  for (uint32_t i = 0; i < machine.virtio_devices.size(); ++i) {
    devices.append(virtio_device(i, machine.virtio_devices[i]));
  }
  constexpr uint64_t kSleepTypeOff = (kPowerOffValue >> 2) & 0x7;
  const std::array<aml::Term, 2> off = {aml::integer(kSleepTypeOff), aml::integer(0)};
  return make_table("DSDT", 2,
                    aml::join({aml::name("_S5_", aml::package(off)), aml::scope("\\_SB_", devices.bytes())}));
}

/// 5.2.3.2: one byte-wide port.
void put_port(ByteWriter& out, uint16_t port) {
  constexpr uint8_t kSystemIo = 1;
  constexpr uint8_t kByteAccess = 1;
  out.put(kSystemIo).put(uint8_t{8}).put(uint8_t{0}).put(kByteAccess).put(uint64_t{port});
}

/// 5.2.9, revision 6.3; offsets count from the table's start.
Table make_fadt(uint64_t dsdt_addr) {
  constexpr uint32_t kWbinvdWorks = 1 << 0;
  constexpr uint32_t kResetRegister = 1 << 10;
  constexpr uint32_t kHardwareReduced = 1 << 20;
  constexpr uint16_t kNoVga = 1 << 2;
  constexpr uint16_t kNoMsi = 1 << 3;
  constexpr uint16_t kNoCmosClock = 1 << 5;
  constexpr size_t kGenericAddressBytes = 12;
  const auto at = [](const ByteWriter& out, size_t offset) { return out.size() + kHeaderBytes == offset; };
  ByteWriter out;
  out.put(uint32_t{0})
      .put(static_cast<uint32_t>(dsdt_addr))
      .zeros(109 - 44);  // no FACS; fixed hardware: none
  CHECK(at(out, 109));
  out.put(static_cast<uint16_t>(kNoVga | kNoMsi | kNoCmosClock)).put(uint8_t{0});
  out.put(kWbinvdWorks | kResetRegister | kHardwareReduced);
  put_port(out, kResetPort);
  out.put(kResetValue).put(uint16_t{0}).put(uint8_t{3});  // minor version
  CHECK(at(out, 132));
  out.put(uint64_t{0}).put(dsdt_addr).zeros(8 * kGenericAddressBytes);
  CHECK(at(out, 244));
  put_port(out, kSleepControlPort);
  put_port(out, kSleepStatusPort);
  out.text(kOemTableId);  // hypervisor vendor
  CHECK(at(out, 276));
  return make_table("FACP", 6, out.bytes());
}

/// 5.2.12: a local APIC per vCPU, and the I/O APIC with the interrupts from 0 on.
Table make_madt(uint32_t vcpu_count) {
  constexpr uint32_t kEnabled = 1;
  constexpr uint32_t kNoDual8259 = 0;
  ByteWriter out;
  out.put(static_cast<uint32_t>(kLocalApicAddr)).put(kNoDual8259);
  for (uint32_t i = 0; i < vcpu_count; ++i) {
    const auto id = static_cast<uint8_t>(i);
    out.put(uint8_t{0}).put(uint8_t{8}).put(id).put(id).put(kEnabled);
  }
  out.put(uint8_t{1}).put(uint8_t{12}).put(uint8_t{0}).put(uint8_t{0});
  out.put(static_cast<uint32_t>(kIoApicAddr)).put(uint32_t{0});
  return make_table("APIC", 5, out.bytes());
}

Result<> check_machine(const AcpiMachine& machine) {
  if (machine.vcpu_count == 0 || machine.vcpu_count > kMaxVcpus) {
    return fail(Code::invalid_argument,
                std::to_string(machine.vcpu_count) + " vCPUs: must be 1 to " + std::to_string(kMaxVcpus));
  }
  if (machine.virtio_devices.size() > kMaxVirtioDevices) {
    return fail(Code::invalid_argument, std::to_string(machine.virtio_devices.size()) +
                                            " virtio devices: at most " + std::to_string(kMaxVirtioDevices));
  }
  for (const MmioWindow& window : machine.virtio_devices) {
    if (window.addr < kMmioHoleAddr || window.addr > kMmioHoleEnd - kVirtioMmioBytes) {
      return fail(Code::invalid_argument,
                  "a virtio window at " + hex(window.addr) + ": not in the MMIO hole");
    }
  }
  return {};
}

}  // namespace

Result<std::vector<std::byte>> build_acpi(const AcpiMachine& machine, uint64_t addr) {
  TRY(check_machine(machine));
  ByteWriter out;
  out.zeros(kRsdpBytes);
  const auto place = [&](const Table& table) {
    out.align(kTableAlignment);
    const uint64_t table_addr = addr + out.size();
    out.append(table);
    return table_addr;
  };
  const uint64_t dsdt_addr = place(make_dsdt(machine));
  const uint64_t fadt_addr = place(make_fadt(dsdt_addr));
  const uint64_t madt_addr = place(make_madt(machine.vcpu_count));
  const uint64_t xsdt_addr = place(make_table("XSDT", 1, ByteWriter().put(fadt_addr).put(madt_addr).take()));
  const Table rsdp = make_rsdp(xsdt_addr);
  std::memcpy(out.bytes().data(), rsdp.data(), rsdp.size());
  return out.take();
}

Result<> write_acpi(const virtio::GuestMemory& memory, const AcpiMachine& machine) {
  const auto tables = TRY(build_acpi(machine));
  CHECK(kAcpiAddr + tables.size() <= kHighRamAddr);
  std::memcpy(TRY(memory.slice(kAcpiAddr, tables.size())).data(), tables.data(), tables.size());
  return {};
}

}  // namespace lambdo::kvm
