#include "image/layers/sip_hash.h"

#include <bit>
#include <cstddef>
#include <span>

#include "base/check.h"
#include "base/syscalls.h"

namespace lambdo::image {

namespace {

class State {
 public:
  explicit State(const SipHash::Key& key)
      : v0_(key[0] ^ 0x736f6d6570736575U),
        v1_(key[1] ^ 0x646f72616e646f6dU),
        v2_(key[0] ^ 0x6c7967656e657261U),
        v3_(key[1] ^ 0x7465646279746573U) {}

  void take(uint64_t word) {
    v3_ ^= word;
    round();
    v0_ ^= word;
  }
  uint64_t finish() {
    v2_ ^= 0xff;
    for (int i = 0; i < 3; ++i) round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  void round() {
    v0_ += v1_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v3_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ += v3_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ += v1_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v2_ = std::rotl(v2_, 32);
  }

  uint64_t v0_;
  uint64_t v1_;
  uint64_t v2_;
  uint64_t v3_;
};

}  // namespace

SipHash::SipHash() : key_() {
  // getrandom(2) of so few bytes does not fail once the machine has started.
  CHECK(sys::random_bytes(std::as_writable_bytes(std::span(key_))));
}

uint64_t SipHash::operator()(uint32_t prefix, std::string_view text) const {
  State state(key_);
  uint64_t word = prefix;
  uint64_t length = sizeof prefix;
  for (const char c : text) {
    word |= uint64_t{static_cast<unsigned char>(c)} << (length % 8 * 8);
    if (++length % 8 == 0) {
      state.take(word);
      word = 0;
    }
  }
  state.take(word | length << 56U);
  return state.finish();
}

}  // namespace lambdo::image
