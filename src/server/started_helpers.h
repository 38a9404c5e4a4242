#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "config/config.h"
#include "engine/kvm_material.h"
#include "namespace/launcher.h"
#include "net/guest_network.h"
#include "registry/credentials.h"

namespace lambdo::server {

/// What must exist before any thread does, or takes time to read: the chosen engine's helper process, or its
/// kernel and archives, and the helper for the network. First part of starting up.
struct StartedHelpers {
  std::optional<namespaces::LauncherProcess> launcher;  ///< of the namespace engine
  std::optional<engine::KvmMaterial> kvm;               ///< of the kvm engine; one of the two is there
  std::string engine_warning;                           ///< why `auto` did not take kvm; empty otherwise
  std::optional<helper::Process> network;   ///< the network helper, where guests may have a network
  std::vector<IpAddress> resolvers;         ///< that it was started with
  registry::CredentialsByHost credentials;  ///< of the servers that the languages' images come from
  std::string agent_path;
};

/// Decides on the engine as the configuration wants it and starts its helper process. Fails where the
/// configuration names an engine that this machine cannot carry, where a file of the kvm engine is not what
/// it should be, where guests cannot have the network that they are to have, and, with the namespace engine,
/// where another server uses the state directory. cancelled
/// where `interrupt_fd` (signal_descriptor(); -1: none) can be read while credential helpers are asked.
Result<StartedHelpers> start_helpers(const config::Config& config, int interrupt_fd = -1);

}  // namespace lambdo::server
