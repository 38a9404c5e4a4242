#include "vm_fixture.h"

#include <unistd.h>

#include "test.h"

namespace lambdo::kvm::fixture {

bool has_kvm() {
  if (::access("/dev/kvm", R_OK | W_OK) == 0) return true;
  MESSAGE("SKIPPED: /dev/kvm is absent or not permitted here, so no guest runs");
  return false;
}

}  // namespace lambdo::kvm::fixture
