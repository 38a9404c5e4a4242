#include "http/client/resolver.h"

#include <ares.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>

#include "base/fd.h"
#include "base/syscalls.h"
#include "base/text.h"
#include "reactor/operations.h"
#include "reactor/timer.h"

namespace lambdo::http {

namespace {

constexpr size_t kMaxHostsFileBytes = 4 << 20;
constexpr int kServerTimeoutMs = 2500;  // doubles with every try (ares_init_options(3))
constexpr int kTries = 2;

using Addresses = std::vector<IpAddress>;

std::optional<IpAddress> address_of(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    return IpAddress::from_bytes({reinterpret_cast<const char*>(&v4->sin_addr), sizeof v4->sin_addr});
  }
  if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    return IpAddress::from_bytes({reinterpret_cast<const char*>(&v6->sin6_addr), sizeof v6->sin6_addr});
  }
  return std::nullopt;
}

/// Whether it can be asked for: letters, digits, hyphens and underscores in labels (RFC 1123, 2.1).
bool is_host_name(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || host.size() > 253 || host.starts_with('.') || host.contains("..")) return false;
  return std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

/// One question to the name servers. c-ares opens its sockets itself; they are gathered in an epoll set,
/// which is the one descriptor that the ring has to watch.
class Query {
 public:
  Query() = default;
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;
  ~Query() {
    // Answers what is open with ARES_EDESTRUCTION, so before the members that the answer goes to.
    if (channel_ != nullptr) ares_destroy(channel_);
  }

  /// Reads the configuration: blocks.
  Result<> open(const std::string& servers) {
    epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_.valid()) return fail_errno("epoll_create1");
    ares_options options{};
    options.timeout = kServerTimeoutMs;
    options.tries = kTries;
    // The hosts file is ours to read.
    options.lookups = const_cast<char*>("b");
    options.sock_state_cb = watch;
    options.sock_state_cb_data = this;
    int status = ares_init_options(
        &channel_, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
    if (status == ARES_SUCCESS && !servers.empty()) {
      status = ares_set_servers_ports_csv(channel_, servers.c_str());
    }
    if (status != ARES_SUCCESS) {
      return fail(Code::name_unresolved, std::string("the resolver's configuration cannot be used: ") +
                                             ares_strerror(status) + "; check /etc/resolv.conf");
    }
    return {};
  }

  void start(const std::string& host) {
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    ares_getaddrinfo(channel_, host.c_str(), nullptr, &hints, answer, this);
  }

  /// How long until c-ares must look at its clock.
  [[nodiscard]] int64_t wait_ms() const {
    timeval longest{.tv_sec = 1, .tv_usec = 0};
    timeval wait{};
    ares_timeout(channel_, &longest, &wait);
    return wait.tv_sec * 1000 + wait.tv_usec / 1000 + 1;
  }

  void process() {
    std::array<epoll_event, 16> events{};
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), 0);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      const bool readable = (event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
      const bool writable = (event.events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0;
      ares_process_fd(channel_, readable ? event.data.fd : ARES_SOCKET_BAD,
                      writable ? event.data.fd : ARES_SOCKET_BAD);
    }
    ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  }

  [[nodiscard]] int epoll() const { return epoll_.get(); }
  [[nodiscard]] bool done() const { return done_; }
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] Addresses& addresses() { return addresses_; }

 private:
  static void watch(void* self, ares_socket_t socket, int readable, int writable) {
    const int epoll = static_cast<Query*>(self)->epoll_.get();
    epoll_event event{};
    event.events = (readable != 0 ? EPOLLIN : 0U) | (writable != 0 ? EPOLLOUT : 0U);
    event.data.fd = socket;
    if (event.events == 0) {
      ::epoll_ctl(epoll, EPOLL_CTL_DEL, socket, nullptr);
    } else if (::epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event) < 0 && errno == EEXIST) {
      ::epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &event);
    }
  }

  static void answer(void* self, int status, int, ares_addrinfo* result) {
    auto& query = *static_cast<Query*>(self);
    query.done_ = true;
    query.status_ = status;
    if (result == nullptr) return;
    for (const ares_addrinfo_node* node = result->nodes; node != nullptr; node = node->ai_next) {
      if (query.addresses_.size() == Resolver::kMaxAddresses) break;
      if (const auto address = address_of(node->ai_addr)) query.addresses_.push_back(*address);
    }
    ares_freeaddrinfo(result);
  }

  Fd epoll_;
  ares_channel channel_ = nullptr;
  bool done_ = false;
  int status_ = ARES_SUCCESS;
  Addresses addresses_;
};

std::unexpected<Error> unresolved(const std::string& host, int status) {
  const std::string name = "the host name \"" + host + "\" ";
  switch (status) {
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_SUCCESS:
      return fail(Code::name_unresolved,
                  name + "has no address; check its spelling, or give it one in /etc/hosts");
    case ARES_ECONNREFUSED:
    case ARES_ETIMEOUT:
      return fail(
          Code::name_unresolved,
          name +
              "cannot be looked up: no name server answers; check /etc/resolv.conf and the network, or "
              "set HTTPS_PROXY where only a proxy gets out");
    default:
      return fail(Code::name_unresolved, name + "cannot be looked up: " + ares_strerror(status) +
                                             "; try again, or check the name servers in /etc/resolv.conf");
  }
}

}  // namespace

bool is_localhost(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  return host == "localhost" || host.ends_with(".localhost");
}

std::vector<IpAddress> addresses_in_hosts(std::string_view text, std::string_view host) {
  constexpr std::string_view kBlank = " \t\r";
  Addresses found;
  while (!text.empty() && found.size() < Resolver::kMaxAddresses) {
    const size_t line_end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, line_end);
    text.remove_prefix(std::min(line_end + 1, text.size()));
    line = line.substr(0, line.find('#'));
    std::optional<std::string_view> address;
    while (true) {
      line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
      if (line.empty()) break;
      const std::string_view word = line.substr(0, line.find_first_of(kBlank));
      line.remove_prefix(word.size());
      if (!address) {
        address = word;
      } else if (equals_ignoring_case(word, host)) {
        const auto parsed = IpAddress::parse(*address);
        if (parsed && std::ranges::find(found, *parsed) == found.end()) found.push_back(*parsed);
        break;
      }
    }
  }
  return found;
}

reactor::Task<Result<Addresses>> Resolver::ask_servers(std::string host, reactor::CancelToken token) {
  Query query;
  CO_TRY(co_await pool_->run([&query, this] { return query.open(settings_.name_servers); }));
  query.start(host);
  while (!query.done()) {
    reactor::Deadline step(*reactor_, reactor_->now_ns() + query.wait_ms() * 1'000'000, token);
    const auto ready = co_await reactor::PollOp(*reactor_, query.epoll(), POLLIN, step.token());
    if (!ready && !step.passed()) co_return std::unexpected(ready.error());
    query.process();
  }
  if (query.addresses().empty()) co_return unresolved(host, query.status());
  co_return std::move(query.addresses());
}

reactor::Task<Result<Addresses>> Resolver::resolve(std::string host, reactor::CancelToken token) {
  if (const auto literal = IpAddress::parse(host)) co_return Addresses{*literal};
  if (is_localhost(host)) {
    co_return Addresses{Ipv4Address{INADDR_LOOPBACK},
                        Ipv6Address{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}};
  }
  if (!is_host_name(host)) {
    co_return fail(Code::name_unresolved, "\"" + host + "\" is neither a host name nor an address");
  }
  const std::string_view name =
      host.ends_with('.') ? std::string_view(host).substr(0, host.size() - 1) : host;
  Addresses known = co_await pool_->run([this, name] {
    const auto text = sys::read_file(settings_.hosts_file, kMaxHostsFileBytes);
    return text ? addresses_in_hosts(*text, name) : Addresses();
  });
  if (!known.empty()) co_return known;
  if (token.cancelled()) co_return fail(Code::cancelled, "looking up a name was cancelled");
  co_return co_await ask_servers(host, token);
}

}  // namespace lambdo::http
