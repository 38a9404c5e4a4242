#include "kvm/cpuid.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "test.h"

namespace lambdo::kvm {

namespace {

constexpr uint32_t kAllBits = 0xffffffff;

kvm_cpuid_entry2 leaf(uint32_t function, uint32_t index = 0, uint32_t value = kAllBits) {
  kvm_cpuid_entry2 entry{};
  entry.function = function;
  entry.index = index;
  entry.eax = entry.ebx = entry.ecx = entry.edx = value;
  return entry;
}

/// A host that supports everything in every leaf that matters.
std::vector<kvm_cpuid_entry2> host(std::string_view vendor) {
  kvm_cpuid_entry2 leaf_0 = leaf(0, 0, 0x1f);
  std::memcpy(&leaf_0.ebx, &vendor[0], 4);
  std::memcpy(&leaf_0.edx, &vendor[4], 4);
  std::memcpy(&leaf_0.ecx, &vendor[8], 4);
  std::vector<kvm_cpuid_entry2> leaves = {leaf_0, leaf(1)};
  // Caches: L1 and L3, type 1 and 3 in bits 0-4, level in 5-7; then the end.
  for (const uint32_t function : {4U, 0x8000001dU}) {
    leaves.push_back(leaf(function, 0, 0xffffff00 | 1 << 5 | 1));
    leaves.push_back(leaf(function, 1, 0xffffff00 | 3 << 5 | 3));
    leaves.push_back(leaf(function, 2, 0));
  }
  for (const uint32_t function :
       {6U, 7U, 0xaU, 0xbU, 0x12U, 0x1cU, 0x1fU, 0x40000000U, 0x40000001U, 0x80000001U, 0x80000008U,
        0x8000000aU, 0x8000001eU, 0x8000001fU, 0x80000022U, 0x80000026U}) {
    leaves.push_back(leaf(function));
  }
  return leaves;
}

constexpr std::string_view kIntel = "GenuineIntel";
constexpr std::string_view kAmd = "AuthenticAMD";

struct Guest {
  std::vector<kvm_cpuid_entry2> leaves;

  Guest(std::string_view vendor, uint32_t index, uint32_t count)
      : leaves(guest_cpuid(host(vendor), index, count).value()) {}

  [[nodiscard]] std::optional<kvm_cpuid_entry2> find(uint32_t function, uint32_t index = 0) const {
    for (const kvm_cpuid_entry2& entry : leaves) {
      if (entry.function == function && entry.index == index) return entry;
    }
    return std::nullopt;
  }
  [[nodiscard]] kvm_cpuid_entry2 get(uint32_t function, uint32_t index = 0) const {
    return find(function, index).value();
  }
};

bool has(uint32_t value, unsigned number) {
  return ((value >> number) & 1) != 0;
}
uint32_t field(uint32_t value, unsigned low, unsigned high) {
  return (value >> low) & ((uint32_t{1} << (high - low + 1)) - 1);
}
bool is_zero(const kvm_cpuid_entry2& entry) {
  return (entry.eax | entry.ebx | entry.ecx | entry.edx) == 0;
}

}  // namespace

TEST_CASE("nested virtualization, SGX, encryption and the PMU are not offered") {
  for (const auto vendor : {kIntel, kAmd}) {
    CAPTURE(vendor);
    const Guest guest(vendor, 0, 2);
    CHECK_FALSE(has(guest.get(1).ecx, 5));           // VMX
    CHECK_FALSE(has(guest.get(1).ecx, 15));          // PDCM
    CHECK_FALSE(has(guest.get(0x80000001).ecx, 2));  // SVM
    CHECK_FALSE(has(guest.get(7).ebx, 2));           // SGX
    for (const uint32_t function : {0xaU, 0x12U, 0x1cU, 0x8000000aU, 0x8000001fU, 0x80000022U}) {
      CAPTURE(function);
      CHECK(is_zero(guest.get(function)));
    }
  }
}

TEST_CASE(
    "the hypervisor bit, KVM's leaves and the TSC deadline timer are there even if the host hides the bits") {
  auto supported = host(kIntel);
  supported[1].ecx = 0;
  const auto leaves = guest_cpuid(supported, 0, 1).value();
  CHECK(has(leaves[1].ecx, 31));
  CHECK(has(leaves[1].ecx, 24));
  const Guest guest(kAmd, 0, 1);
  CHECK_EQ(guest.get(0x40000000).ebx, kAllBits);
  CHECK_EQ(guest.get(0x40000001).eax, kAllBits);
}

TEST_CASE("every leaf that names the topology agrees on one package of single-threaded cores") {
  struct Row {
    uint32_t count;
    uint32_t id_bits;
  };
  for (const Row row : {Row{1, 0}, Row{2, 1}, Row{3, 2}, Row{4, 2}, Row{8, 3}}) {
    for (uint32_t index = 0; index < row.count; ++index) {
      CAPTURE(row.count);
      CAPTURE(index);
      const Guest intel(kIntel, index, row.count);
      const Guest amd(kAmd, index, row.count);
      CHECK_EQ(field(intel.get(1).ebx, 24, 31), index);
      CHECK_EQ(field(intel.get(1).ebx, 16, 23), 1U << row.id_bits);
      CHECK_EQ(has(intel.get(1).edx, 28), row.count > 1);
      for (const uint32_t function : {0xbU, 0x1fU}) {
        CHECK_EQ(intel.get(function, 0).ecx, 0x100);
        CHECK_EQ(intel.get(function, 0).ebx, 1);
        CHECK_EQ(intel.get(function, 1).ecx, 0x201);
        CHECK_EQ(intel.get(function, 1).eax, row.id_bits);
        CHECK_EQ(intel.get(function, 1).ebx, row.count);
        CHECK_EQ(intel.get(function, 1).edx, index);
        CHECK_EQ(intel.get(function, 2).ecx, 2);
        CHECK_EQ(intel.get(function, 0).flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
      }
      CHECK_EQ(field(intel.get(4, 0).eax, 14, 25), 0);
      CHECK_EQ(field(intel.get(4, 1).eax, 14, 25), row.count - 1);
      CHECK_EQ(field(intel.get(4, 1).eax, 26, 31), row.count - 1);
      CHECK(is_zero(intel.get(4, 2)));
      CHECK_EQ(field(amd.get(0x8000001d, 1).eax, 14, 25), row.count - 1);
      CHECK_EQ(field(amd.get(0x80000008).ecx, 0, 7), row.count - 1);
      CHECK_EQ(field(amd.get(0x80000008).ecx, 12, 15), row.id_bits);
      CHECK_EQ(has(amd.get(0x80000001).ecx, 1), row.count > 1);
      CHECK_EQ(amd.get(0x8000001e).eax, index);
      CHECK_EQ(amd.get(0x8000001e).ebx, index);
      CHECK_EQ(amd.get(0x8000001e).ecx, 0);
      CHECK_FALSE(amd.find(0x80000026).has_value());
    }
  }
}

TEST_CASE("Intel's reserved fields are left as they are, and features that KVM offers stay") {
  const Guest guest(kIntel, 1, 2);
  CHECK_EQ(guest.get(0x80000008).ecx, kAllBits);
  CHECK_EQ(guest.get(7).edx, kAllBits);
  CHECK_EQ(guest.get(6).eax, 0x4);
  CHECK_EQ(guest.get(6).ecx, 0);
}

TEST_CASE("the topology leaves are made only where the highest leaf covers them") {
  auto supported = host(kAmd);
  supported[0].eax = 0xd;
  const auto leaves = guest_cpuid(supported, 0, 2).value();
  CHECK_EQ(std::ranges::count(leaves, 0xbU, &kvm_cpuid_entry2::function), 3);
  CHECK_EQ(std::ranges::count(leaves, 0x1fU, &kvm_cpuid_entry2::function), 0);
}

TEST_CASE("an impossible vCPU or host is refused") {
  CHECK_EQ(guest_cpuid(host(kIntel), 0, 0).error().message, "0 vCPUs: must be 1 to 8");
  CHECK_EQ(guest_cpuid(host(kIntel), 0, 1000).error().message, "1000 vCPUs: must be 1 to 8");
  CHECK_FALSE(guest_cpuid(host(kIntel), 2, 2).has_value());
  CHECK_FALSE(guest_cpuid({}, 0, 1).has_value());
}

}  // namespace lambdo::kvm
