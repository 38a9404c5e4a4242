#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

/// The few ACPI machine language terms (ACPI 6.4, chapter 20) that our DSDT is made of. Each function gives
/// the encoding of one term; names are 1 to 4 characters and padded with '_'.
namespace lambdo::kvm::aml {

using Term = std::vector<std::byte>;

/// The terms one after another.
Term join(std::initializer_list<std::span<const std::byte>> terms);

Term integer(uint64_t value);
Term string(std::string_view text);
/// A compressed EISA id: three capital letters and four hex digits, such as "PNP0501".
Term eisa_id(std::string_view id);
/// Package of `elements`, at most 255.
Term package(std::span<const Term> elements);
/// Name (name, value).
Term name(std::string_view name, std::span<const std::byte> value);
/// Scope (name) { body }; `name` may start with '\'.
Term scope(std::string_view name, std::span<const std::byte> body);
/// Device (name) { body }.
Term device(std::string_view name, std::span<const std::byte> body);

/// A buffer of resource descriptors (6.4), closed by the end tag.
Term resources(std::initializer_list<std::span<const std::byte>> descriptors);
/// IO (Decode16, port, port, 1, count).
Term io_ports(uint16_t port, uint8_t count);
/// Memory32Fixed (ReadWrite, addr, len_bytes).
Term memory_window(uint32_t addr, uint32_t len_bytes);
/// Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { gsi }.
Term interrupt(uint32_t gsi);

}  // namespace lambdo::kvm::aml
