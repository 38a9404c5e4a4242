#include "agent/host_client.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/syscalls.h"
#include "rpc/grpc_wire.h"

namespace lambdo::agent {

Result<std::unique_ptr<HostClient>> HostClient::create(Fd socket) {
  auto session = TRY(rpc::ClientSession::create({}));
  return std::unique_ptr<HostClient>(
      new HostClient(TRY(SessionSocket::create(std::move(socket))), std::move(session)));
}

Result<> HostClient::wait(long long deadline_ns) {
  while (true) {
    const bool blocked = TRY(socket_.flush(*session_));
    if (session_->open_calls() == 0) return {};
    const long long left_ms = (deadline_ns - sys::monotonic_ns()) / 1'000'000;
    if (left_ms <= 0) return fail(Code::timeout, "no answer in time");
    pollfd ready{socket_.fd(), static_cast<short>(blocked ? POLLIN | POLLOUT : POLLIN), 0};
    if (::poll(&ready, 1, static_cast<int>(std::min(left_ms, 1000LL))) < 0 && errno != EINTR) {
      return fail_errno("poll");
    }
    if ((ready.revents & ~POLLOUT) != 0) TRY(socket_.receive(*session_));
  }
}

Result<> HostClient::call(std::string_view method, const google::protobuf::MessageLite& request,
                          google::protobuf::MessageLite& response, long long timeout_ms) {
  Result<rpc::CallAnswer> answer;
  const int32_t call =
      TRY(session_->start(method, rpc::frame_message(request),
                          [&](Result<rpc::CallAnswer> ended) { answer = std::move(ended); }));
  const Result<> waited = wait(sys::monotonic_ns() + timeout_ms * 1'000'000);
  if (!waited) {
    session_->cancel(call);
    return waited;
  }
  const std::string message = TRY(rpc::message_of(std::move(answer)));
  if (!response.ParseFromString(message)) {
    return fail(Code::agent_protocol, "the answer is no " + response.GetTypeName());
  }
  return {};
}

}  // namespace lambdo::agent
