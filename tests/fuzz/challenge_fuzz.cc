#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "registry/challenge.h"

/// Any bytes as a WWW-Authenticate field: bounded, and in the form that the grammar promises.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len_bytes) {
  const auto challenges =
      lambdo::registry::parse_challenges({reinterpret_cast<const char*>(data), len_bytes});
  if (!challenges) {
    CHECK(challenges.error().code == lambdo::Code::registry_failed);
    return 0;
  }
  CHECK(challenges->size() <= 16);
  for (const auto& challenge : *challenges) {
    CHECK(!challenge.scheme.empty());
    CHECK(challenge.token68.empty() || challenge.parameters.empty());
    for (const auto& [name, value] : challenge.parameters) {
      CHECK(!name.empty());
      CHECK(challenge.parameter(name) == value);
      CHECK(value.find('\n') == std::string::npos);
    }
  }
  return 0;
}
