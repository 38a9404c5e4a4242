#include "kvm/boot/boot_params.h"

#include <asm/bootparam.h>

#include <cstring>

#include "kvm/boot/command_line.h"

namespace lambdo::kvm {

namespace {

static_assert(sizeof(boot_params) == kPageBytes);
static_assert(kCommandLineAddr + kMaxCommandLineBytes < kBootStackEnd - kPageBytes);

void describe_initrd(boot_params& params, const AddressRange& initrd) {
  params.hdr.ramdisk_image = static_cast<uint32_t>(initrd.addr);
  params.ext_ramdisk_image = static_cast<uint32_t>(initrd.addr >> 32);
  params.hdr.ramdisk_size = static_cast<uint32_t>(initrd.len_bytes);
  params.ext_ramdisk_size = static_cast<uint32_t>(initrd.len_bytes >> 32);
}

void describe_memory(boot_params& params, const RamLayout& ram) {
  for (const E820Entry& entry : ram.e820()) {
    params.e820_table[params.e820_entries++] = {
        .addr = entry.range.addr, .size = entry.range.len_bytes, .type = static_cast<uint32_t>(entry.type)};
  }
}

}  // namespace

Result<> write_boot_params(const virtio::GuestMemory& memory, const RamLayout& ram,
                           std::string_view command_line, const std::optional<AddressRange>& initrd) {
  if (command_line.size() > kMaxCommandLineBytes) {
    return fail(Code::invalid_argument, "a kernel command line of " + std::to_string(command_line.size()) +
                                            " bytes: the limit is " + std::to_string(kMaxCommandLineBytes));
  }
  boot_params params{};
  // boot.rst, 64-bit boot protocol: what a loader without an assigned number says of itself.
  params.hdr.type_of_loader = 0xff;
  params.hdr.boot_flag = 0xaa55;
  params.hdr.header = 0x53726448;  // "HdrS"
  params.hdr.version = 0x020f;
  params.hdr.loadflags = LOADED_HIGH;
  params.hdr.cmd_line_ptr = static_cast<uint32_t>(kCommandLineAddr);
  params.hdr.cmdline_size = static_cast<uint32_t>(command_line.size());
  params.hdr.kernel_alignment = 0x1000000;
  params.acpi_rsdp_addr = kAcpiAddr;
  if (initrd) describe_initrd(params, *initrd);
  describe_memory(params, ram);
  TRY(memory.write(kZeroPageAddr, params));
  const auto text = TRY(memory.slice(kCommandLineAddr, command_line.size() + 1));
  std::memcpy(text.data(), command_line.data(), command_line.size());
  text.back() = std::byte{0};
  return {};
}

}  // namespace lambdo::kvm
