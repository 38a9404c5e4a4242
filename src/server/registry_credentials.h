#pragma once

#include <cstdint>

#include "base/error.h"
#include "config/config.h"
#include "registry/credentials.h"

namespace lambdo::server {

/// The credential for each server that the images of the languages may come from: the registries and their
/// mirrors, each under its own host and for nobody else. For a server, which asks credential helpers before
/// its first thread, because it may start no program later. What fails is told in the log, and that host is
/// asked as somebody without a name; so is one whose turn does not come within `limit_ms`. One helper has
/// half of that for an answer, and one that took longer is not asked again.
///
/// Ends as soon as `interrupt_fd` (-1: none) can be read, which is not read: cancelled, the only error.
Result<registry::CredentialsByHost> find_credentials(const config::Config& config, int interrupt_fd = -1,
                                                     int64_t limit_ms = 10'000);

}  // namespace lambdo::server
