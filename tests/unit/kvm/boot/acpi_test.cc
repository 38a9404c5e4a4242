#include "kvm/boot/acpi.h"

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "fixture.h"
#include "kvm/boot/aml.h"

#include "test.h"

namespace lambdo::kvm {

using fixture::Bytes;

namespace {

std::vector<MmioWindow> windows(uint32_t count) {
  std::vector<MmioWindow> result;
  result.reserve(count);
  for (uint32_t i = 0; i < count; ++i) result.push_back(virtio_window(i));
  return result;
}

template <typename T>
T read_at(std::span<const std::byte> bytes, size_t offset) {
  T value;
  REQUIRE_LE(offset + sizeof value, bytes.size());
  std::memcpy(&value, &bytes[offset], sizeof value);
  return value;
}

unsigned sum(std::span<const std::byte> bytes) {
  unsigned result = 0;
  for (const std::byte byte : bytes) result += std::to_integer<unsigned>(byte);
  return result & 0xff;
}

/// All tables by signature, found as an operating system finds them: from the RSDP by their addresses.
std::map<std::string, Bytes> walk_tables(const Bytes& image, uint64_t base) {
  std::map<std::string, Bytes> tables;
  const auto table_at = [&](uint64_t addr) {
    REQUIRE_GE(addr, base);
    const size_t offset = addr - base;
    const auto len_bytes = read_at<uint32_t>(image, offset + 4);
    REQUIRE_LE(offset + len_bytes, image.size());
    CHECK_EQ(offset % 16, 0);
    return Bytes(image.begin() + offset, image.begin() + offset + len_bytes);
  };
  const auto keep = [&](const Bytes& table) {
    CHECK_EQ(sum(table), 0);
    tables[std::string(fixture::text_of(table).substr(0, 4))] = table;
  };
  CHECK_EQ(fixture::text_of(image).substr(0, 8), "RSD PTR ");
  CHECK_EQ(sum(std::span(image).first(20)), 0);
  CHECK_EQ(sum(std::span(image).first(36)), 0);
  const Bytes xsdt = table_at(read_at<uint64_t>(image, 24));
  keep(xsdt);
  for (size_t at = 36; at < xsdt.size(); at += 8) keep(table_at(read_at<uint64_t>(xsdt, at)));
  const Bytes& fadt = tables.at("FACP");
  CHECK_EQ(read_at<uint32_t>(fadt, 40), read_at<uint64_t>(fadt, 140));
  keep(table_at(read_at<uint64_t>(fadt, 140)));
  return tables;
}

std::map<std::string, Bytes> build_tables(uint32_t vcpu_count, uint32_t device_count) {
  const auto devices = windows(device_count);
  const auto image = build_acpi({.vcpu_count = vcpu_count, .virtio_devices = devices});
  REQUIRE_MESSAGE(image.has_value(), image.error().message);
  return walk_tables(*image, kAcpiAddr);
}

size_t count_of(std::string_view text, std::string_view part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

bool has_iasl() {
  if (fixture::run_command("command -v iasl").status == 0) return true;
  MESSAGE("SKIPPED: iasl is not installed (package acpica-tools), so no table is disassembled");
  return false;
}

}  // namespace

TEST_CASE("tables are found from the RSDP, with right checksums, for every machine") {
  for (const uint32_t vcpu_count : {1U, 2U, 8U}) {
    for (const uint32_t device_count : {0U, 1U, 8U}) {
      CAPTURE(vcpu_count);
      CAPTURE(device_count);
      const auto tables = build_tables(vcpu_count, device_count);
      CHECK_EQ(tables.size(), 4);
      CHECK_EQ(tables.at("APIC").size(), 44 + 8 * vcpu_count + 12);
      CHECK_EQ(count_of(fixture::text_of(tables.at("DSDT")), "LNRO0005"), device_count);
    }
  }
}

TEST_CASE("the FADT says hardware-reduced, and which ports reset and power off") {
  const auto tables = build_tables(1, 0);
  const Bytes& fadt = tables.at("FACP");
  CHECK_EQ(fadt.size(), 276);
  CHECK_EQ(read_at<uint32_t>(fadt, 112), (1U << 20 | 1U << 10 | 1U));
  struct Register {
    size_t offset;
    uint16_t port;
  };
  for (const Register expected :
       {Register{116, kResetPort}, Register{244, kSleepControlPort}, Register{256, kSleepStatusPort}}) {
    CHECK_EQ(read_at<uint8_t>(fadt, expected.offset), 1);  // system I/O
    CHECK_EQ(read_at<uint8_t>(fadt, expected.offset + 1), 8);
    CHECK_EQ(read_at<uint64_t>(fadt, expected.offset + 4), expected.port);
  }
  CHECK_EQ(read_at<uint8_t>(fadt, 128), kResetValue);
}

TEST_CASE("iasl disassembles every table without a complaint and reads what was meant") {
  if (!has_iasl()) return;
  const fixture::TemporaryFolder folder;
  std::map<std::string, std::string> text;
  for (const auto& [signature, table] : build_tables(8, 8)) {
    CAPTURE(signature);
    folder.write(signature + ".aml", table);
    const auto result = fixture::run_command("cd " + folder.path() + " && iasl -d " + signature + ".aml");
    CAPTURE(result.output);
    CHECK_EQ(result.status, 0);
    for (const char* complaint :
         {"Error", "error", "Warning", "warning", "Invalid", "invalid", "Could not", "Unknown"}) {
      CHECK_FALSE(result.output.contains(complaint));
    }
    text[signature] = fixture::run_command("cat " + folder.path() + "/" + signature + ".dsl").output;
    for (const char* complaint : {"Error", "Warning", "Invalid", "Unknown", "incorrect"}) {
      CHECK_FALSE(text[signature].contains(complaint));
    }
  }
  const std::string& dsdt = text["DSDT"];
  CAPTURE(dsdt);
  CHECK_EQ(count_of(dsdt, "Name (_HID, \"LNRO0005\")"), 8);
  CHECK(dsdt.contains("0xD0007000,         // Address Base"));
  CHECK_EQ(count_of(dsdt, "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive"), 9);
  CHECK(dsdt.contains("0x00000017,"));
  CHECK(dsdt.contains("EisaId (\"PNP0501\")"));
  CHECK(dsdt.contains("Name (_S5, Package (0x02)"));
  CHECK(text["FACP"].contains("Hardware Reduced (V5) : 1"));
  CHECK_EQ(count_of(text["APIC"], "Processor Enabled : 1"), 8);

  // What the compiler makes of the disassembly must be what we wrote.
  const auto again = fixture::run_command("cd " + folder.path() + " && iasl -p again DSDT.dsl");
  CAPTURE(again.output);
  CHECK_EQ(again.status, 0);
  CHECK(again.output.contains("0 Errors, 0 Warnings"));
}

TEST_CASE("machines that the tables cannot describe are refused") {
  CHECK_FALSE(build_acpi({.vcpu_count = 0}).has_value());
  CHECK_EQ(build_acpi({.vcpu_count = 1000}).error().message, "1000 vCPUs: must be 1 to 8");
  const std::vector<MmioWindow> many(kMaxVirtioDevices + 1, virtio_window(0));
  CHECK_FALSE(build_acpi({.vcpu_count = 1, .virtio_devices = many}).has_value());
  const std::vector<MmioWindow> in_ram = {{.addr = 0x1000, .gsi = 16}};
  CHECK_FALSE(build_acpi({.vcpu_count = 1, .virtio_devices = in_ram}).has_value());
}

TEST_CASE("the tables are written where the zero page and a scan find them") {
  const fixture::Ram ram(64 * kMiB);
  const auto devices = windows(3);
  const AcpiMachine machine = {.vcpu_count = 2, .virtio_devices = devices};
  REQUIRE(write_acpi(ram.memory, machine).has_value());
  const auto tables = build_acpi(machine).value();
  CHECK(ram.read(kAcpiAddr, tables.size()) == tables);
}

TEST_CASE("AML integers, ids and package lengths have their shortest form") {
  const auto hex_of = [](const aml::Term& term) {
    std::string text;
    for (const std::byte byte : term) {
      char digits[3];
      std::snprintf(digits, sizeof digits, "%02x", std::to_integer<unsigned>(byte));
      text += digits;
    }
    return text;
  };
  CHECK_EQ(hex_of(aml::integer(0)), "00");
  CHECK_EQ(hex_of(aml::integer(1)), "01");
  CHECK_EQ(hex_of(aml::integer(0xff)), "0aff");
  CHECK_EQ(hex_of(aml::integer(0x1234)), "0b3412");
  CHECK_EQ(hex_of(aml::integer(0x12345678)), "0c78563412");
  CHECK_EQ(hex_of(aml::integer(0x123456789a)), "0e9a78563412000000");
  CHECK_EQ(hex_of(aml::eisa_id("PNP0501")), "0c41d00501");
  CHECK_EQ(hex_of(aml::name("_UID", aml::integer(1))), "085f55494401");
  // Lengths count themselves: 58 + 4 + 1 = 63 fits one byte, one more needs two.
  CHECK_EQ(hex_of(aml::scope("A", aml::Term(58))).substr(0, 4), "103f");
  CHECK_EQ(hex_of(aml::scope("A", aml::Term(59))).substr(0, 6), "104104");
  CHECK_EQ(hex_of(aml::scope("A", aml::Term(4089))).substr(0, 6), "104fff");
  CHECK_EQ(hex_of(aml::scope("A", aml::Term(4090))).substr(0, 8), "10810001");
}

}  // namespace lambdo::kvm
