// Precompiled for every program of unit tests: what standard.h has, doctest, and what tests use beside it.
#pragma once

#include <doctest/doctest.h>

#include <thread>

#include "standard.h"
// doctest's CHECK comes back with test.h, which a test includes last: until there CHECK is that of
// base/check.h.
#undef CHECK
