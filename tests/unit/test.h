#pragma once

// Include last: doctest's CHECK takes the name of ours, which inline code of the headers before has used by
// then.
#undef CHECK
#include <doctest/doctest.h>
#undef CHECK
#define CHECK(...) DOCTEST_CHECK(__VA_ARGS__)
