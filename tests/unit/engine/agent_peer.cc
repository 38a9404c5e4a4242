#include "agent_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "lambdo.pb.h"

namespace lambdo::engine {

static sockaddr_in loopback(const std::string& address, uint16_t port) {
  sockaddr_in result{.sin_family = AF_INET, .sin_port = htons(port)};
  CHECK(::inet_pton(AF_INET, address.c_str(), &result.sin_addr) == 1);
  return result;
}

Fd connect_from(const std::string& address, uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in from = loopback(address, 0);
  const sockaddr_in to = loopback("127.0.0.1", port);
  CHECK(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0);
  CHECK(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  return socket;
}

std::string http2_frame(int type, int flags, uint32_t stream, std::string_view payload) {
  std::string text;
  for (int shift = 16; shift >= 0; shift -= 8) text += static_cast<char>(payload.size() >> shift);
  text += {static_cast<char>(type), static_cast<char>(flags)};
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(stream >> shift);
  return text.append(payload);
}

std::string http2_preface() {
  constexpr int kSettings = 4;
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2_frame(kSettings, 0, 0, "");
}

std::string grpc_call(uint32_t stream, const std::string& path, std::string_view message) {
  constexpr int kData = 0;
  constexpr int kHeaders = 1;
  constexpr int kEndStream = 1;
  constexpr int kEndHeaders = 4;
  // Literals without indexing (RFC 7541, 6.2.2).
  std::string block;
  for (const auto& [name, value] : {std::pair<std::string, std::string>{":method", "POST"},
                                    {":scheme", "http"},
                                    {":path", path},
                                    {":authority", "host"},
                                    {"te", "trailers"},
                                    {"content-type", "application/grpc"}}) {
    block += {'\0', static_cast<char>(name.size())};
    block += name + static_cast<char>(value.size()) + value;
  }
  std::string body(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) body += static_cast<char>(message.size() >> shift);
  return http2_frame(kHeaders, kEndHeaders, stream, block) +
         http2_frame(kData, kEndStream, stream, body.append(message));
}

std::string register_call(uint32_t stream, uint32_t port) {
  grpc_definitions::RegisterRequest request;
  request.set_port(port);
  return grpc_call(stream, "/grpc_definitions.LambdoApiService/Register", request.SerializeAsString());
}

std::string status_call(uint32_t stream, const std::string& id, int code) {
  grpc_definitions::StatusMessage message;
  message.set_id(id);
  message.set_code(static_cast<grpc_definitions::Code>(code));
  return grpc_call(stream, "/grpc_definitions.LambdoApiService/Status", message.SerializeAsString());
}

OriginalAgent::OriginalAgent(const std::string& address, uint16_t host_port, std::vector<std::string> more) {
  std::vector<std::string> arguments = {LAMBDO_ORIGINAL_AGENT, "127.0.0.1", std::to_string(host_port),
                                        "--bind", address};
  arguments.insert(arguments.end(), more.begin(), more.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  CHECK(::posix_spawn(&pid_, argv[0], nullptr, nullptr, argv.data(), environ) == 0);
}

OriginalAgent::~OriginalAgent() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

}  // namespace lambdo::engine
