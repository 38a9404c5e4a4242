#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/fd.h"

namespace lambdo::registry {

struct SeenRequest {
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;

  [[nodiscard]] std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

/// The bytes that answer a request, after which the connection is closed.
struct Reply {
  std::string bytes;
  bool endless = false;  ///< more of the body until the client has gone
  /// Then a byte each so many milliseconds, those of `slow` first, until the client has gone; 0: none.
  int drip_ms = 0;
  std::string slow;
};

using HeaderList = std::vector<std::pair<std::string, std::string>>;
/// A whole answer: with Content-Length, unless the list has a length or coding of its own.
Reply reply(int status, std::string_view body = "", const HeaderList& headers = {});
/// The errors of a registry.
Reply refusal(int status, std::string_view code, std::string_view message, const HeaderList& headers = {});

/// A server on 127.0.0.1 that says what a script tells it to, one connection after the other, on a thread of
/// its own.
class ScriptedServer {
 public:
  using Script = std::function<Reply(const SeenRequest& request)>;

  /// `address` where it is to be another than 127.0.0.1.
  explicit ScriptedServer(Script script, const char* address = "127.0.0.1");
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;
  ~ScriptedServer();

  /// "127.0.0.1:PORT".
  [[nodiscard]] const std::string& host() const { return host_; }
  [[nodiscard]] std::vector<SeenRequest> seen() const;
  /// Requests whose target has `part` in it.
  [[nodiscard]] size_t count(std::string_view part) const;
  /// Whether `text` came in any request, anywhere.
  [[nodiscard]] bool has_seen(std::string_view text) const;

 private:
  void serve();
  void answer(Fd connection);

  Script script_;
  Fd listener_;
  std::string host_;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::vector<SeenRequest> seen_;
  std::thread thread_;
};

}  // namespace lambdo::registry
