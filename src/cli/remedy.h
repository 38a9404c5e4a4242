#pragma once

#include <string>

#include "base/error.h"

namespace lambdo::cli {

/// What a person can do about an error of work with images; empty where the message says all there is.
std::string remedy(const Error& error);

}  // namespace lambdo::cli
