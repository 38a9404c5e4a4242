#include "base/sha256.h"

namespace lambdo {

Sha256::Sha256() {
  ::nettle_sha256_init(&context_);
}

void Sha256::update(std::span<const std::byte> data) {
  ::nettle_sha256_update(&context_, data.size(), reinterpret_cast<const uint8_t*>(data.data()));
}

Sha256::Value Sha256::finish() {
  Value value;
  ::nettle_sha256_digest(&context_, value.size(), reinterpret_cast<uint8_t*>(value.data()));
  return value;
}

Sha256::Value Sha256::of(std::span<const std::byte> data) {
  Sha256 sha256;
  sha256.update(data);
  return sha256.finish();
}

}  // namespace lambdo
