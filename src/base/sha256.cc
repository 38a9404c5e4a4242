#include "base/sha256.h"

#include <openssl/evp.h>

#include "base/check.h"

namespace lambdo {

void Sha256::Free::operator()(void* context) const {
  EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context));
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  // Only an empty heap can make these fail.
  CHECK(context_ != nullptr);
  CHECK(EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_.get()), EVP_sha256(), nullptr) == 1);
}

void Sha256::update(std::span<const std::byte> data) {
  CHECK(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_.get()), data.data(), data.size()) == 1);
}

Sha256::Value Sha256::finish() {
  auto* context = static_cast<EVP_MD_CTX*>(context_.get());
  Value value;
  CHECK(EVP_DigestFinal_ex(context, reinterpret_cast<unsigned char*>(value.data()), nullptr) == 1);
  CHECK(EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1);
  return value;
}

Sha256::Value Sha256::of(std::span<const std::byte> data) {
  Sha256 sha256;
  sha256.update(data);
  return sha256.finish();
}

}  // namespace lambdo
