#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

struct nghttp2_session;
struct nghttp2_session_callbacks;

namespace lambdo::engine {

/// How a call ends: gRPC's status code (doc/statuscodes.md), and the encoded message where it is 0, else a
/// word in printable ASCII about it.
struct RegistrationAnswer {
  int grpc_status = 0;
  std::string text;
};

class RegistrationCalls {
 public:
  /// `method` as "/package.Service/Method"; `message` is a guest's word.
  virtual RegistrationAnswer call(std::string_view method, std::string_view message) = 0;

 protected:
  ~RegistrationCalls() = default;
};

/// The server's side of one connection on which an agent makes a few small unary gRPC calls (HTTP/2, RFC
/// 9113). Bytes in, bytes out: whoever owns the socket moves them. What the peer can make us keep or do is
/// bounded by kMaxBytes of input for good, kMaxCalls calls, and kMaxMessageBytes of each.
class RegistrationSession {
 public:
  static constexpr size_t kMaxBytes = 64 << 10;
  static constexpr size_t kMaxMessageBytes = 4096;
  static constexpr int kMaxCalls = 16;

  /// `calls` outlives the session.
  static Result<std::unique_ptr<RegistrationSession>> create(RegistrationCalls& calls);
  RegistrationSession(const RegistrationSession&) = delete;
  RegistrationSession& operator=(const RegistrationSession&) = delete;

  /// Takes in what came, and makes the calls that are complete. resource_exhausted: too much; agent_protocol:
  /// no HTTP/2, where the peer is not to be told. What take_output() gives is then worth a try to send.
  Result<> receive(std::string_view bytes);
  /// What there is to send now.
  Result<std::string> take_output();
  /// Once all output was taken: whether there is nothing more to hear.
  [[nodiscard]] bool finished() const;
  /// Whether the output tells the peer that what it sent is no HTTP/2.
  [[nodiscard]] bool violated() const { return violated_; }

 private:
  struct Callbacks;
  struct SessionDeleter {
    void operator()(nghttp2_session* session) const;
  };
  struct Call {
    std::string method;
    bool is_grpc_post = false;
    std::string body;
    bool answered = false;
    std::string answer;
    size_t sent = 0;
  };

  explicit RegistrationSession(RegistrationCalls& calls) : calls_(calls) {}
  void finish_call(int32_t stream, Call& call);
  RegistrationAnswer answer_of(const Call& call);
  /// Trailers only.
  void refuse(int32_t stream, Call& call, const RegistrationAnswer& answer);

  RegistrationCalls& calls_;
  std::unique_ptr<nghttp2_session, SessionDeleter> session_;
  std::map<int32_t, Call> open_;
  int call_count_ = 0;
  size_t received_bytes_ = 0;
  bool violated_ = false;
};

}  // namespace lambdo::engine
