#pragma once

#include <vector>

#include "agent/run_supervisor.h"
#include "base/error.h"
#include "lambdo.pb.h"

namespace lambdo::agent {

/// The run that `request` asks for. Each step is /bin/sh -c COMMAND lambdo ARGUMENTS..., its environment
/// `base_environment` (as environ), a PATH where there is none, and the request's variables, the later of a
/// name winning. invalid_argument names what is wrong.
Result<Run> make_run(const grpc_definitions::ExecuteRequest& request, char* const* base_environment);

/// The answer to `request`. Takes the captured output out of `reports`.
grpc_definitions::ExecuteResponse make_response(const grpc_definitions::ExecuteRequest& request,
                                                std::vector<StepReport> reports);

}  // namespace lambdo::agent
