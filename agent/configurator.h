#pragma once

#include <optional>

#include "agent/name_files.h"
#include "agent/network_plan.h"
#include "base/error.h"

namespace grpc_definitions {
class ConfigureRequest;
}

namespace lambdo::agent {

/// Carries out what the host says of the machine's name and network. For a machine's init.
class Configurator {
 public:
  explicit Configurator(NameFolders folders = {}) : folders_(std::move(folders)) {}

  /// As Configure in proto/lambdo.proto. invalid_argument before anything was changed.
  Result<> apply(const grpc_definitions::ConfigureRequest& request);

 private:
  Result<> carry_out(MachinePlan plan);

  NameFolders folders_;
  std::optional<InterfacePlan> interface_;  ///< the last one
};

}  // namespace lambdo::agent
