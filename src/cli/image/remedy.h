#pragma once

#include <string>

#include "base/error.h"

namespace lambdo::cli {

/// The store that a command works on, for what one can do about its errors.
enum class StoreKind {
  kept,      ///< of a server or of --store: other commands can look at it and make room in it
  temporary  ///< a PrivateStore, which goes with the command
};

/// What a person can do about an error of work with images; empty where the message says all there is.
std::string remedy(const Error& error, StoreKind store = StoreKind::kept);

}  // namespace lambdo::cli
