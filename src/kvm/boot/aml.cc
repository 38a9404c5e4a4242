#include "kvm/boot/aml.h"

#include <array>

#include "base/check.h"
#include "base/text.h"
#include "kvm/boot/byte_writer.h"

namespace lambdo::kvm::aml {

namespace {

constexpr uint8_t kZeroOp = 0x00;
constexpr uint8_t kOneOp = 0x01;
constexpr uint8_t kNameOp = 0x08;
constexpr uint8_t kBytePrefix = 0x0a;
constexpr uint8_t kWordPrefix = 0x0b;
constexpr uint8_t kDwordPrefix = 0x0c;
constexpr uint8_t kStringPrefix = 0x0d;
constexpr uint8_t kQwordPrefix = 0x0e;
constexpr uint8_t kScopeOp = 0x10;
constexpr uint8_t kBufferOp = 0x11;
constexpr uint8_t kPackageOp = 0x12;
constexpr uint8_t kExtOpPrefix = 0x5b;
constexpr uint8_t kDeviceOp = 0x82;

constexpr size_t kNameBytes = 4;

void put_name(ByteWriter& out, std::string_view name) {
  if (name.starts_with('\\')) {
    out.text("\\");
    name.remove_prefix(1);
  }
  CHECK(!name.empty() && name.size() <= kNameBytes);
  out.text(name).text(std::string_view("____").substr(name.size()));
}

/// 20.2.4: the length counts its own bytes; past one byte, the first holds the lowest 4 bits and how many
/// follow.
void put_package_length(ByteWriter& out, size_t body_bytes) {
  if (body_bytes + 1 <= 0x3f) {
    out.put(static_cast<uint8_t>(body_bytes + 1));
    return;
  }
  size_t following = 1;
  while (body_bytes + 1 + following >= size_t{1} << (4 + 8 * following)) ++following;
  CHECK(following <= 3);
  const size_t length = body_bytes + 1 + following;
  out.put(static_cast<uint8_t>(following << 6 | (length & 0xf)));
  for (size_t i = 0; i < following; ++i) out.put(static_cast<uint8_t>(length >> (4 + 8 * i)));
}

Term with_length(std::initializer_list<uint8_t> opcode, std::span<const std::byte> body) {
  ByteWriter out;
  for (const uint8_t byte : opcode) out.put(byte);
  put_package_length(out, body.size());
  return out.append(body).take();
}

Term named_body(std::string_view name, std::span<const std::byte> body) {
  ByteWriter out;
  put_name(out, name);
  return out.append(body).take();
}

}  // namespace

Term join(std::initializer_list<std::span<const std::byte>> terms) {
  ByteWriter out;
  for (const auto term : terms) out.append(term);
  return out.take();
}

Term integer(uint64_t value) {
  ByteWriter out;
  if (value == 0) {
    out.put(kZeroOp);
  } else if (value == 1) {
    out.put(kOneOp);
  } else if (value <= UINT8_MAX) {
    out.put(kBytePrefix).put(static_cast<uint8_t>(value));
  } else if (value <= UINT16_MAX) {
    out.put(kWordPrefix).put(static_cast<uint16_t>(value));
  } else if (value <= UINT32_MAX) {
    out.put(kDwordPrefix).put(static_cast<uint32_t>(value));
  } else {
    out.put(kQwordPrefix).put(value);
  }
  return out.take();
}

Term string(std::string_view text) {
  return ByteWriter().put(kStringPrefix).text(text).put(uint8_t{0}).take();
}

Term eisa_id(std::string_view id) {
  CHECK(id.size() == 7);
  // 19.3.4: five bits per letter, four per digit, the most significant byte first.
  uint32_t value = 0;
  for (const char letter : id.substr(0, 3)) value = value << 5 | static_cast<uint32_t>(letter - 'A' + 1);
  for (const char digit : id.substr(3)) {
    CHECK(hex_digit(digit) >= 0);
    value = value << 4 | static_cast<uint32_t>(hex_digit(digit));
  }
  return ByteWriter().put(kDwordPrefix).put(__builtin_bswap32(value)).take();
}

Term package(std::span<const Term> elements) {
  CHECK(elements.size() <= UINT8_MAX);
  ByteWriter body;
  body.put(static_cast<uint8_t>(elements.size()));
  for (const Term& element : elements) body.append(element);
  return with_length({kPackageOp}, body.bytes());
}

Term name(std::string_view name, std::span<const std::byte> value) {
  ByteWriter out;
  out.put(kNameOp);
  put_name(out, name);
  return out.append(value).take();
}

Term scope(std::string_view name, std::span<const std::byte> body) {
  return with_length({kScopeOp}, named_body(name, body));
}

Term device(std::string_view name, std::span<const std::byte> body) {
  return with_length({kExtOpPrefix, kDeviceOp}, named_body(name, body));
}

Term resources(std::initializer_list<std::span<const std::byte>> descriptors) {
  ByteWriter content;
  for (const auto descriptor : descriptors) content.append(descriptor);
  // 6.4.2.9: a checksum of 0 means that the resources are not checked.
  content.put(uint8_t{0x79}).put(uint8_t{0});
  return with_length({kBufferOp}, join({integer(content.size()), content.bytes()}));
}

Term io_ports(uint16_t port, uint8_t count) {
  // 6.4.2.5
  return ByteWriter()
      .put(uint8_t{0x47})
      .put(uint8_t{1})  // decodes 16 bits
      .put(port)
      .put(port)
      .put(uint8_t{1})  // alignment
      .put(count)
      .take();
}

Term memory_window(uint32_t addr, uint32_t len_bytes) {
  // 6.4.3.4
  return ByteWriter()
      .put(uint8_t{0x86})
      .put(uint16_t{9})
      .put(uint8_t{1})  // writable
      .put(addr)
      .put(len_bytes)
      .take();
}

Term interrupt(uint32_t gsi) {
  // 6.4.3.6
  constexpr uint8_t kConsumer = 1 << 0;
  constexpr uint8_t kEdge = 1 << 1;
  return ByteWriter()
      .put(uint8_t{0x89})
      .put(uint16_t{6})
      .put(uint8_t{kConsumer | kEdge})
      .put(uint8_t{1})  // how many interrupts
      .put(gsi)
      .take();
}

}  // namespace lambdo::kvm::aml
