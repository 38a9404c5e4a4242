#include "agent/host_client.h"

#include <fcntl.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <sys/socket.h>

#include <string>
#include <thread>

#include "base/syscalls.h"
#include "lambdo.grpc.pb.h"

#include "test.h"

namespace lambdo::agent {

namespace proto = grpc_definitions;

class Host final : public proto::LambdoApiService::Service {
 public:
  grpc::Status Register(grpc::ServerContext*, const proto::RegisterRequest* request,
                        proto::RegisterResponse* response) override {
    if (request->port() == 0) return {grpc::StatusCode::INVALID_ARGUMENT, "port \xe2\x82\xac 0%"};
    response->set_id(request->token());
    return grpc::Status::OK;
  }
};

TEST_CASE("the agent's client and gRPC's server understand each other") {
  Host host;
  grpc::ServerBuilder builder;
  builder.RegisterService(&host);
  builder.SetMaxReceiveMessageSize(64 << 20);
  const auto server = builder.BuildAndStart();
  auto [ours, theirs] = sys::socketpair(SOCK_STREAM).value();
  REQUIRE_EQ(::fcntl(theirs.get(), F_SETFL, O_NONBLOCK), 0);
  grpc::AddInsecureChannelFromFd(server.get(), theirs.release());
  const auto client = HostClient::create(std::move(ours)).value();
  proto::RegisterRequest request;
  proto::RegisterResponse response;
  const std::string method = "/grpc_definitions.LambdoApiService/Register";

  const Result<> refused = client->call(method, request, response, 10'000);
  REQUIRE(!refused);
  CHECK_EQ(refused.error().code, Code::unavailable);
  CHECK_EQ(refused.error().message, "port \xe2\x82\xac 0%");

  request.set_port(1);
  for (const size_t len_bytes : {0UL, 5UL, 70'000UL, 9UL << 20}) {
    request.set_token(std::string(len_bytes, 't'));
    REQUIRE(client->call(method, request, response, 10'000));
    CHECK_EQ(response.id(), request.token());
  }
  CHECK_EQ(client->call("/x.Y/Z", request, response, 10'000).error().code, Code::unavailable);
}

TEST_CASE("a call that is not answered ends at its time, or with the connection") {
  auto [ours, theirs] = sys::socketpair(SOCK_STREAM).value();
  const auto client = HostClient::create(std::move(ours)).value();
  proto::Empty request;
  proto::Empty response;
  CHECK_EQ(client->call("/x", request, response, 20).error().code, Code::timeout);
  theirs.reset();
  CHECK_EQ(client->call("/x", request, response, 10'000).error().code, Code::closed);
}

TEST_CASE("an answer that is no HTTP/2 fails the call") {
  auto [ours, theirs] = sys::socketpair(SOCK_STREAM).value();
  const auto client = HostClient::create(std::move(ours)).value();
  REQUIRE(sys::write_all(theirs.get(), "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
  proto::Empty request;
  proto::Empty response;
  CHECK(!client->call("/x", request, response, 10'000));
}

}  // namespace lambdo::agent
