#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "http/url.h"

namespace lambdo::http {

/// Proxies as users write them; empty means none.
struct ProxySettings {
  std::string http;    ///< for http URLs: "http://user:password@host:port", or just host:port
  std::string https;   ///< for https URLs
  std::string exempt;  ///< where not to use one, with commas between: see ProxyRules
  std::string http_variable = "http_proxy";    ///< what messages call `http`
  std::string https_variable = "https_proxy";  ///< and `https`

  /// From HTTPS_PROXY, HTTP_PROXY and NO_PROXY, of which the lower-case spelling comes first. HTTP_PROXY in
  /// capitals is ignored where REQUEST_METHOD is set: in a CGI program it is the client's header "Proxy".
  static ProxySettings from_environment();
  /// The same by a function in place of getenv(3).
  static ProxySettings from(const std::function<std::optional<std::string>(const char* name)>& variable);
};

struct Proxy {
  std::string scheme;  ///< "http", or "https" for TLS to the proxy itself
  std::string host;
  uint16_t port = 0;
  std::string authorization;  ///< the value of Proxy-Authorization; empty: none

  /// Code::invalid_argument where `text` is no proxy that can be used, with nothing of it: a password may be
  /// anywhere in what is not written right.
  static Result<Proxy> parse(std::string_view text);
};

/// Decides which proxy a URL goes through.
///
/// The exempt list has: a host name, which stands for all below it too; ".name" and "*.name" for only those
/// below it; an address or a block of them (10.0.0.0/8), which are compared with addresses in URLs; each but
/// the block with a :port where only that one is meant; "*" for all. localhost and loopback addresses never
/// go through a proxy.
class ProxyRules {
 public:
  /// Entries of the list that mean nothing match nothing.
  explicit ProxyRules(const ProxySettings& settings);
  /// nullptr: go directly. Code::invalid_argument where the proxy for it cannot be used, naming the variable
  /// it comes from: others that need none go on.
  [[nodiscard]] Result<const Proxy*> choose(const Url& url) const;

 private:
  struct Exemption {
    std::string host;  ///< in lower case, without the leading dot
    bool only_below = false;
    std::optional<IpSubnet> network;
    uint16_t port = 0;  ///< 0: all
  };

  void add_exemption(std::string_view entry);
  [[nodiscard]] bool is_exempt(const Url& url) const;

  std::optional<Result<Proxy>> http_;
  std::optional<Result<Proxy>> https_;
  bool all_exempt_ = false;
  std::vector<Exemption> exempt_;
};

}  // namespace lambdo::http
