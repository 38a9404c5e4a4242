#include "agent/registration.h"

#include "agent/host_client.h"
#include "lambdo.pb.h"

namespace lambdo::agent {

namespace proto = grpc_definitions;

static constexpr long long kTimeoutMs = 10'000;

static Result<std::string> introduce(const Address& host, uint32_t port, const std::string& token) {
  Fd connection = TRY(connect_to_host(host));
  const auto client = TRY(HostClient::create(std::move(connection)));
  proto::RegisterRequest request;
  request.set_port(port);
  request.set_token(token);
  proto::RegisterResponse response;
  TRY(client->call("/grpc_definitions.LambdoApiService/Register", request, response, kTimeoutMs));
  if (response.response_case() != proto::RegisterResponse::kId) {
    return fail(Code::unavailable, response.error().empty() ? "the host gave no id" : response.error());
  }
  proto::StatusMessage ready;
  ready.set_id(response.id());
  ready.set_code(proto::READY);
  proto::Empty nothing;
  TRY(client->call("/grpc_definitions.LambdoApiService/Status", ready, nothing, kTimeoutMs));
  return response.id();
}

Result<std::string> register_with_host(const Address& host, uint32_t port, const std::string& token) {
  auto id = introduce(host, port, token);
  if (!id) return std::unexpected(std::move(id).error().with_context("registration failed"));
  return id;
}

}  // namespace lambdo::agent
