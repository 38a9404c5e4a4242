#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "registry/reference.h"

using lambdo::registry::Reference;

/// Any text as the name of an image: what is taken reads back from both of its forms.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len_bytes) {
  const auto reference = Reference::parse({reinterpret_cast<const char*>(data), len_bytes});
  if (!reference) {
    CHECK(reference.error().code == lambdo::Code::invalid_argument);
    return 0;
  }
  CHECK(!reference->repository.empty());
  CHECK(!reference->tag.empty() || reference->digest);
  for (const auto& text : {reference->text(), reference->familiar()}) {
    const auto again = Reference::parse(text);
    CHECK(again && *again == *reference);
  }
  return 0;
}
