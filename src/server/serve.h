#pragma once

#include "base/error.h"
#include "config/config.h"

namespace lambdo::server {

/// Serves this configuration over HTTP until SIGINT or SIGTERM came and what had been taken is done. Called
/// once, while the process has one thread; gives up privileges for good. Errors: why it cannot serve, or why
/// the engine ended.
Result<> serve(const config::Config& config);

}  // namespace lambdo::server
