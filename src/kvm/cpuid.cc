#include "kvm/cpuid.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <string_view>

#include "kvm/memory_layout.h"

// Leaves and bits: Intel SDM 2A, CPUID; AMD APM 3, appendix E.
namespace lambdo::kvm {

namespace {

struct Topology {
  uint32_t index;
  uint32_t count;
  bool is_amd;

  /// Bits of the APIC id that number the cores.
  [[nodiscard]] uint32_t id_bits() const { return static_cast<uint32_t>(std::bit_width(count - 1)); }
};

constexpr uint32_t bit(unsigned number) {
  return uint32_t{1} << number;
}

/// `value` in bits `low` to `high` of `to`.
void set_field(uint32_t& to, unsigned low, unsigned high, uint32_t value) {
  const uint32_t mask = (high - low == 31 ? ~uint32_t{0} : bit(high - low + 1) - 1) << low;
  to = (to & ~mask) | ((value << low) & mask);
}

void set_bit(uint32_t& to, unsigned number, bool on) {
  set_field(to, number, number, on ? 1 : 0);
}

void clear_registers(kvm_cpuid_entry2& entry) {
  entry.eax = entry.ebx = entry.ecx = entry.edx = 0;
}

const kvm_cpuid_entry2* find_leaf(std::span<const kvm_cpuid_entry2> entries, uint32_t function) {
  const auto found = std::ranges::find(entries, function, &kvm_cpuid_entry2::function);
  return found == entries.end() ? nullptr : &*found;
}

bool is_amd(const kvm_cpuid_entry2& leaf_0) {
  std::array<char, 12> vendor;
  std::memcpy(vendor.data(), &leaf_0.ebx, 4);
  std::memcpy(&vendor[4], &leaf_0.edx, 4);
  std::memcpy(&vendor[8], &leaf_0.ecx, 4);
  const std::string_view name(vendor.data(), vendor.size());
  return name == "AuthenticAMD" || name == "HygonGenuine";
}

void edit_features(kvm_cpuid_entry2& entry, const Topology& topology) {
  set_field(entry.ebx, 24, 31, topology.index);
  set_field(entry.ebx, 16, 23, uint32_t{1} << topology.id_bits());
  set_bit(entry.edx, 28, topology.count > 1);  // HTT: more than one logical processor
  for (const unsigned number : {2U, 3U, 5U, 6U, 15U}) {
    set_bit(entry.ecx, number, false);  // DTES64, MONITOR, VMX, SMX, PDCM
  }
  set_bit(entry.edx, 21, false);  // DS: debug store
  set_bit(entry.ecx, 24, true);   // TSC deadline
  set_bit(entry.ecx, 31, true);   // hypervisor
}

/// Leaf 4 and AMD's 0x8000001d have the same fields: level 3 is shared by all, what is below belongs to one
/// core.
void edit_cache(kvm_cpuid_entry2& entry, const Topology& topology) {
  const uint32_t type = entry.eax & 0x1f;
  if (type == 0) return;
  const uint32_t level = (entry.eax >> 5) & 0x7;
  set_field(entry.eax, 14, 25, level >= 3 ? topology.count - 1 : 0);
  if (entry.function == 4) set_field(entry.eax, 26, 31, topology.count - 1);
}

void edit_extended_features(kvm_cpuid_entry2& entry, const Topology& topology) {
  for (const unsigned number : {2U, 10U, 12U, 13U, 15U, 23U, 24U, 28U}) {
    set_bit(entry.ecx, number, false);  // SVM, IBS, SKINIT, WDT, LWP, performance counters
  }
  if (topology.is_amd) set_bit(entry.ecx, 1, topology.count > 1);  // CmpLegacy
}

void edit_leaf(kvm_cpuid_entry2& entry, const Topology& topology) {
  switch (entry.function) {
    case 1:
      return edit_features(entry, topology);
    case 4:
    case 0x8000001d:
      return edit_cache(entry, topology);
    case 6:  // power management: nothing but a timer that does not stop (ARAT)
      entry.eax &= bit(2);
      entry.ebx = entry.ecx = entry.edx = 0;
      return;
    case 7:
      if (entry.index != 0) return;
      set_bit(entry.ebx, 2, false);   // SGX
      set_bit(entry.ecx, 30, false);  // SGX launch configuration
      return;
    case 0x80000001:
      return edit_extended_features(entry, topology);
    case 0x80000008:
      if (!topology.is_amd) return;
      set_field(entry.ecx, 0, 7, topology.count - 1);
      set_field(entry.ecx, 12, 15, topology.id_bits());
      return;
    case 0x8000001e:
      entry.eax = topology.index;
      entry.ebx = topology.index;
      entry.ecx = entry.edx = 0;
      return;
    case 0xa:         // Intel PMU
    case 0x12:        // SGX
    case 0x1c:        // last branch records
    case 0x8000000a:  // SVM
    case 0x8000001f:  // memory encryption
    case 0x80000022:  // AMD performance monitoring
      return clear_registers(entry);
    default:
      return;
  }
}

/// Leaf 0xb or 0x1f: threads (one per core), cores, and the end.
void append_topology(std::vector<kvm_cpuid_entry2>& entries, uint32_t function, const Topology& topology) {
  struct Level {
    uint32_t type;
    uint32_t shift;
    uint32_t count;
  };
  const std::array<Level, 3> levels = {{{1, 0, 1}, {2, topology.id_bits(), topology.count}, {0, 0, 0}}};
  for (uint32_t i = 0; i < levels.size(); ++i) {
    kvm_cpuid_entry2 entry{};
    entry.function = function;
    entry.index = i;
    entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    entry.eax = levels[i].shift;
    entry.ebx = levels[i].count;
    entry.ecx = i | levels[i].type << 8;
    entry.edx = topology.index;
    entries.push_back(entry);
  }
}

/// Made anew (0xb, 0x1f), or left out, because it would tell of the host's topology (0x80000026).
bool is_replaced(const kvm_cpuid_entry2& entry) {
  return entry.function == 0xb || entry.function == 0x1f || entry.function == 0x80000026;
}

}  // namespace

Result<std::vector<kvm_cpuid_entry2>> guest_cpuid(std::span<const kvm_cpuid_entry2> supported, uint32_t index,
                                                  uint32_t count) {
  if (count == 0 || count > kMaxVcpus) {
    return fail(Code::invalid_argument,
                std::to_string(count) + " vCPUs: must be 1 to " + std::to_string(kMaxVcpus));
  }
  if (index >= count) {
    return fail(Code::invalid_argument, "vCPU " + std::to_string(index) + " of " + std::to_string(count));
  }
  const kvm_cpuid_entry2* leaf_0 = find_leaf(supported, 0);
  if (leaf_0 == nullptr || find_leaf(supported, 1) == nullptr) {
    return fail(Code::invalid_argument, "KVM supports no CPUID leaf 0 and 1");
  }
  const Topology topology = {.index = index, .count = count, .is_amd = is_amd(*leaf_0)};
  std::vector<kvm_cpuid_entry2> entries;
  entries.reserve(supported.size() + 6);
  for (const kvm_cpuid_entry2& entry : supported) {
    if (is_replaced(entry)) continue;
    entries.push_back(entry);
    edit_leaf(entries.back(), topology);
  }
  for (const uint32_t function : {0xbU, 0x1fU}) {
    if (leaf_0->eax >= function) append_topology(entries, function, topology);
  }
  return entries;
}

}  // namespace lambdo::kvm
