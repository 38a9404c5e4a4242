#include "kvm/boot/boot_params.h"

#include <asm/bootparam.h>

#include <string>

#include "fixture.h"
#include "kvm/boot/command_line.h"

#include "test.h"

namespace lambdo::kvm {

static boot_params read_params(const fixture::Ram& ram) {
  return ram.memory.read<boot_params>(kZeroPageAddr).value();
}

// The fields are packed: '+' makes a copy, because doctest binds references.
TEST_CASE("the zero page tells the kernel where everything is") {
  const fixture::Ram ram(5 * kGiB);
  const AddressRange initrd = {.addr = 0xb0000000, .len_bytes = 12345};
  REQUIRE(write_boot_params(ram.memory, ram.layout, "console=ttyS0", initrd).has_value());
  const boot_params params = read_params(ram);
  CHECK_EQ(+params.sentinel, 0);
  CHECK_EQ(+params.hdr.boot_flag, 0xaa55);
  CHECK_EQ(+params.hdr.header, 0x53726448);
  CHECK_EQ(+params.hdr.type_of_loader, 0xff);
  CHECK_EQ(+params.hdr.ramdisk_image, 0xb0000000);
  CHECK_EQ(+params.hdr.ramdisk_size, 12345);
  CHECK_EQ(+params.ext_ramdisk_image, 0);
  CHECK_EQ(+params.hdr.cmd_line_ptr, kCommandLineAddr);
  CHECK_EQ(+params.acpi_rsdp_addr, kAcpiAddr);
  const auto entries = ram.layout.e820();
  REQUIRE_EQ(+params.e820_entries, entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    CHECK_EQ(+params.e820_table[i].addr, entries[i].range.addr);
    CHECK_EQ(+params.e820_table[i].size, entries[i].range.len_bytes);
    CHECK_EQ(+params.e820_table[i].type, static_cast<uint32_t>(entries[i].type));
  }
  CHECK_EQ(fixture::text_of(ram.read(kCommandLineAddr, 14)), std::string_view("console=ttyS0\0", 14));
}

TEST_CASE("without an initrd the fields stay zero, and above 4 GiB the upper halves are used") {
  const fixture::Ram ram(64 * kMiB);
  REQUIRE(write_boot_params(ram.memory, ram.layout, "", std::nullopt).has_value());
  CHECK_EQ(+read_params(ram).hdr.ramdisk_image, 0);
  CHECK_EQ(+read_params(ram).hdr.ramdisk_size, 0);
  const AddressRange high = {.addr = 0x1'2345'6000, .len_bytes = 0x2'0000'0001};
  REQUIRE(write_boot_params(ram.memory, ram.layout, "", high).has_value());
  CHECK_EQ(+read_params(ram).hdr.ramdisk_image, 0x23456000);
  CHECK_EQ(+read_params(ram).ext_ramdisk_image, 1);
  CHECK_EQ(+read_params(ram).hdr.ramdisk_size, 1);
  CHECK_EQ(+read_params(ram).ext_ramdisk_size, 2);
}

TEST_CASE("the longest command line fits and ends with its NUL, a longer one is refused") {
  const fixture::Ram ram(64 * kMiB);
  const std::string longest(kMaxCommandLineBytes, 'x');
  REQUIRE(write_boot_params(ram.memory, ram.layout, longest, std::nullopt).has_value());
  const auto written = ram.read(kCommandLineAddr, kMaxCommandLineBytes + 1);
  CHECK_EQ(fixture::text_of(written), longest + std::string(1, '\0'));
  CHECK_FALSE(write_boot_params(ram.memory, ram.layout, longest + "x", std::nullopt).has_value());
}

TEST_CASE("parameters are joined by one space, and the last value is the last on the line") {
  CommandLine line;
  CHECK(line.add("").has_value());
  CHECK_EQ(line.text(), "");
  CHECK(line.add("a=1").has_value());
  CHECK(line.add("rdinit", "/init").has_value());
  CHECK(line.add("b c").has_value());
  CHECK_EQ(line.text(), "a=1 rdinit=/init b c");
}

TEST_CASE("a command line that the kernel would cut or misread is refused and stays as it was") {
  CommandLine line;
  REQUIRE(line.add("first").has_value());
  for (const std::string& bad : {std::string("a\nb"), std::string("a\0b", 3), std::string("a\tb"),
                                 std::string("\x7f"), std::string(kMaxCommandLineBytes, 'x')}) {
    const auto added = line.add(bad);
    REQUIRE_FALSE(added.has_value());
    CHECK_EQ(added.error().code, Code::invalid_argument);
    CHECK_EQ(line.text(), "first");
  }
  CHECK_FALSE(line.add("init", "a b").has_value());
  CHECK_FALSE(line.add("init", "a\"b").has_value());
  CHECK(line.add(std::string(kMaxCommandLineBytes - 6, 'x')).has_value());
  CHECK_EQ(line.text().size(), kMaxCommandLineBytes);
}

TEST_CASE(
    "by default a guest has its console on the serial port, ends when it panics and keeps mitigations") {
  const std::string text = " " + CommandLine::defaults().text() + " ";
  for (const char* wanted : {" console=ttyS0 ", " panic=-1 ", " reboot=acpi ", " pci=off "}) {
    CHECK(text.contains(wanted));
  }
  CHECK_FALSE(text.contains("mitigations"));
}

}  // namespace lambdo::kvm
