// The functions of libcrypto's own for one hash: EVP's first call sets up every algorithm that there is,
// which is 2 MiB of memory in each process. They are deprecated, for they cannot be served by other
// providers; nobody needs that here.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/sha256.h"

#include <openssl/sha.h>

#include "base/check.h"

namespace lambdo {

void Sha256::Free::operator()(void* context) const {
  delete static_cast<SHA256_CTX*>(context);
}

Sha256::Sha256() : context_(new SHA256_CTX) {
  CHECK(SHA256_Init(static_cast<SHA256_CTX*>(context_.get())) == 1);
}

void Sha256::update(std::span<const std::byte> data) {
  CHECK(SHA256_Update(static_cast<SHA256_CTX*>(context_.get()), data.data(), data.size()) == 1);
}

Sha256::Value Sha256::finish() {
  auto* context = static_cast<SHA256_CTX*>(context_.get());
  Value value;
  CHECK(SHA256_Final(reinterpret_cast<unsigned char*>(value.data()), context) == 1);
  CHECK(SHA256_Init(context) == 1);
  return value;
}

Sha256::Value Sha256::of(std::span<const std::byte> data) {
  Sha256 sha256;
  sha256.update(data);
  return sha256.finish();
}

}  // namespace lambdo
