#pragma once

#include <memory>
#include <string>
#include <utility>

#include "http/client/client.h"
#include "reactor/reactor.h"

namespace lambdo::http {

/// Settings that nothing in the environment changes.
ClientSettings test_settings();

/// A client on a reactor of its own, which must have nothing left at the end.
class ClientHarness {
 public:
  explicit ClientHarness(ClientSettings settings = test_settings());
  ClientHarness(const ClientHarness&) = delete;
  ClientHarness& operator=(const ClientHarness&) = delete;
  ~ClientHarness();

  Result<ClientResponse> fetch(ClientRequest request, size_t max_body_bytes = 1 << 20,
                               CancelToken token = {}) {
    return reactor_->run(client_->fetch(std::move(request), max_body_bytes, token));
  }
  Result<ClientResponse> get(const std::string& url) { return fetch(get_request(url)); }
  static ClientRequest get_request(const std::string& url);

  [[nodiscard]] reactor::Reactor& reactor() { return *reactor_; }
  [[nodiscard]] Client& client() { return *client_; }

 private:
  std::unique_ptr<reactor::Reactor> reactor_;
  std::unique_ptr<Client> client_;
};

/// "http://HOST:port" and a path.
std::string http_url(uint16_t port, const std::string& target, const std::string& host = "127.0.0.1");

/// A response with a Content-Length.
std::string response_text(const std::string& body, const std::string& headers = "",
                          const std::string& status = "200 OK");

}  // namespace lambdo::http
