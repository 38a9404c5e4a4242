#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/client/incoming_response.h"
#include "http/client/proxy.h"
#include "http/message.h"
#include "http/url.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"

/// An HTTP/1.1 client (RFC 9110, RFC 9112) over TCP and TLS 1.2: names, proxies, kept connections, redirects.
namespace lambdo::http {

class ClientCore;

/// 0 means no limit.
struct ClientTimeouts {
  int64_t name_ms = 10'000;             ///< looking a host name up
  int64_t connect_ms = 15'000;          ///< all addresses of a host together
  int64_t tls_ms = 15'000;              ///< the handshake
  int64_t response_head_ms = 30'000;    ///< from the request sent to the whole head received
  int64_t idle_body_ms = 30'000;        ///< without a byte of a body, in either direction
  int64_t kept_connection_ms = 30'000;  ///< how long an unused connection is kept; 0: none is kept
};

struct ClientLimits {
  size_t max_head_bytes = 64 << 10;  ///< of a response, its trailers and interim ones included
  size_t max_redirects = 10;
  size_t connections_per_host = 8;  ///< under way; requests beyond wait for one to end
  size_t kept_per_host = 4;
  size_t kept_connections = 32;
};

struct ClientSettings {
  /// Trusted certificates, PEM. Empty: the file that SSL_CERT_FILE names, else the system's.
  std::string ca_bundle;
  /// More trusted certificates, for registries with an authority of their own.
  std::vector<std::string> extra_ca_files;
  ProxySettings proxies = ProxySettings::from_environment();
  ClientTimeouts timeouts;
  ClientLimits limits;
  std::string user_agent = "lambdo";
  /// "address:port", with commas between; empty: those of /etc/resolv.conf.
  std::string name_servers;
  std::string hosts_file = "/etc/hosts";
};

/// Which addresses a request may go to, whatever name leads there (http/private_address.h).
enum class AddressScope { any, public_only };

struct ClientRequest {
  Method method = Method::get;
  Url url;
  /// Beside those the client writes: Host, Content-Length, Connection, and User-Agent where it is not here.
  Headers headers;
  std::string body;
  AddressScope addresses = AddressScope::any;
  bool follow_redirects = true;
  /// What errors show of a place that a redirect named: a server can write there what it was sent. Empty: all
  /// of it. Called until the response's head is there.
  std::function<std::string(std::string_view text)> shown;
};

/// Sends requests on kept connections, one request on each at a time. Lives on the reactor's thread; files
/// are read, and handshakes computed, on a thread of its own.
///
/// Redirects (301, 302, 303, 307, 308 with a Location) are followed for GET and HEAD only.
/// Code::redirect_refused where they loop, are too many, lead from https to http, or from a public address to
/// one that is not. Authorization, Cookie and Proxy-Authorization are not sent on where scheme, host or port
/// differ.
///
/// Through a proxy the proxy looks names up: only addresses and localhost are checked then, by what the URL
/// says.
///
/// Errors: name_unresolved, tls_failed, redirect_refused, timeout (says which), closed (the peer went in the
/// middle; a GET, HEAD, PUT, DELETE or OPTIONS on a kept connection has been tried again by then),
/// headers_too_large, payload_too_large, permission_denied (AddressScope), invalid_argument (a request that
/// cannot be written), io (what came is not HTTP, or a system call failed), overloaded, cancelled.
/// invalid_argument also where the proxy for the request is one that cannot be used.
class Client {
 public:
  /// Code::invalid_argument for settings that make no sense. Certificates are read when first needed.
  static Result<std::unique_ptr<Client>> create(reactor::Reactor& reactor, ClientSettings settings);
  /// All requests must have ended and their responses be gone; `close` says when.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// The response's head, whatever its status; its body is to be read from it. The response must not outlive
  /// the client.
  Task<Result<IncomingResponse>> send(ClientRequest request, CancelToken token = {});
  /// The whole response. Code::payload_too_large where its body is over the cap.
  Task<Result<ClientResponse>> fetch(ClientRequest request, size_t max_body_bytes, CancelToken token = {});
  /// Takes no more requests (Code::shutting_down), ends the kept connections and waits until the last
  /// response is gone: cancel the tokens of those under way first.
  Task<> close();
  /// Connections that are kept for later requests now.
  [[nodiscard]] size_t kept_connections() const;

 private:
  explicit Client(std::unique_ptr<ClientCore> core);

  std::unique_ptr<ClientCore> core_;
};

}  // namespace lambdo::http
