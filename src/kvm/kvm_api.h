#pragma once

// Include this, never <linux/kvm.h> alone. Linux 6.1's headers make flexible arrays with a struct that is
// empty in C and one byte long in C++: kvm_cpuid2, kvm_msrs, kvm_irq_routing, kvm_signal_mask and kvm_xsave
// get the wrong size, and so the ioctls that carry it the wrong number (newer headers define the macro for
// C++ as here).
#include <linux/stddef.h>

#ifdef __DECLARE_FLEX_ARRAY
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(Type, name) Type name[0]
#endif

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wzero-length-array"
#include <linux/kvm.h>
#pragma clang diagnostic pop

static_assert(sizeof(kvm_cpuid2) == 8 && sizeof(kvm_msrs) == 8 && sizeof(kvm_irq_routing) == 8 &&
              sizeof(kvm_signal_mask) == 4 && sizeof(kvm_xsave) == 4096);
