#include "kvm/boot/boot_source.h"

#include "kvm/boot/boot_params.h"
#include "kvm/boot/cpu_state.h"

namespace lambdo::kvm {

Result<> write_boot_source(const BootSource& source, const AcpiMachine& machine, const RamLayout& layout,
                           const virtio::GuestMemory& memory) {
  const KernelImage& kernel = *source.kernel;
  // Placed before anything is copied: most mistakes of size show here.
  std::optional<AddressRange> initrd;
  if (source.initrd != nullptr) {
    initrd = TRY(place_initrd(layout, kernel.end_addr(), source.initrd->size_bytes(), kernel.initrd_end()));
  }
  TRY(write_kernel(kernel, layout, memory));
  if (initrd) TRY(source.initrd->write(memory, *initrd, *source.token));
  TRY(write_boot_params(memory, layout, source.command_line, initrd));
  TRY(write_boot_tables(memory));
  return write_acpi(memory, machine);
}

}  // namespace lambdo::kvm
