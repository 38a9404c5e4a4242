#include "scripted_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>

#include "base/text.h"
#include "registry/digest.h"

namespace lambdo::registry {

Reply reply(int status, std::string_view body, const HeaderList& headers) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " Status\r\nConnection: close\r\n";
  bool has_length = false;
  for (const auto& [name, value] : headers) {
    out += name + ": " + value + "\r\n";
    const std::string lower = to_lower(name);
    has_length = has_length || lower == "content-length" || lower == "transfer-encoding";
  }
  if (!has_length) out += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return {.bytes = out + "\r\n" + std::string(body)};
}

Reply refusal(int status, std::string_view code, std::string_view message, const HeaderList& headers) {
  return reply(
      status,
      R"({"errors":[{"code":")" + std::string(code) + R"(","message":")" + std::string(message) + "\"}]}",
      headers);
}

ScriptedServer::ScriptedServer(Script script, const char* address) : script_(std::move(script)) {
  listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{.sin_family = AF_INET};
  ::inet_pton(AF_INET, address, &name.sin_addr);
  socklen_t len = sizeof name;
  if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&name), len) != 0 ||
      ::listen(listener_.get(), 64) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&name), &len) != 0) {
    throw std::runtime_error("a scripted server cannot listen");
  }
  host_ = std::string(address) + ":" + std::to_string(ntohs(name.sin_port));
  thread_ = std::thread([this] { serve(); });
}

ScriptedServer::~ScriptedServer() {
  stopping_ = true;
  ::shutdown(listener_.get(), SHUT_RDWR);
  thread_.join();
}

void ScriptedServer::serve() {
  while (!stopping_) {
    Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection.valid()) answer(std::move(connection));
  }
}

static bool receive_until(int socket, std::string& text,
                          const std::function<bool(const std::string&)>& done) {
  std::array<char, 16384> buffer{};
  while (!done(text)) {
    pollfd wait{.fd = socket, .events = POLLIN};
    if (::poll(&wait, 1, 5000) != 1) return false;
    const ssize_t count = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (count <= 0) return false;
    text.append(buffer.data(), static_cast<size_t>(count));
  }
  return true;
}

static SeenRequest parse_request(const std::string& head) {
  SeenRequest request;
  size_t line_end = head.find("\r\n");
  const std::string first = head.substr(0, line_end);
  request.method = first.substr(0, first.find(' '));
  request.target = first.substr(first.find(' ') + 1, first.rfind(' ') - first.find(' ') - 1);
  while (line_end != std::string::npos && line_end + 2 < head.size()) {
    const size_t start = line_end + 2;
    line_end = head.find("\r\n", start);
    const std::string line = head.substr(start, line_end - start);
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) request.headers[to_lower(line.substr(0, colon))] = line.substr(colon + 2);
  }
  return request;
}

static bool send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

void ScriptedServer::answer(Fd connection) {
  const timeval patience{.tv_sec = 10};
  ::setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  std::string text;
  // A TLS handshake, which starts with a byte of 22, is answered as servers without TLS do.
  const auto has_head = [](const std::string& so_far) {
    return so_far.starts_with('\x16') || so_far.find("\r\n\r\n") != std::string::npos;
  };
  if (!receive_until(connection.get(), text, has_head)) return;
  if (text.starts_with('\x16')) {
    send_all(connection.get(), "HTTP/1.1 400 Bad Request\r\n\r\n");
    return;
  }
  const size_t head_len = text.find("\r\n\r\n") + 4;
  SeenRequest request = parse_request(text.substr(0, head_len));
  const size_t whole = head_len + parse_uint(request.header("content-length")).value_or(0);
  if (!receive_until(connection.get(), text,
                     [&](const std::string& so_far) { return so_far.size() >= whole; })) {
    return;
  }
  request.body = text.substr(head_len);
  {
    const std::lock_guard lock(mutex_);
    seen_.push_back(request);
  }
  const Reply said = script_(request);
  if (!send_all(connection.get(), said.bytes)) return;
  const std::string more(64 << 10, 'x');
  while (said.endless && !stopping_ && send_all(connection.get(), more)) {
  }
  for (size_t i = 0; said.drip_ms > 0 && !stopping_; ++i) {
    if (!send_all(connection.get(), i < said.slow.size() ? said.slow.substr(i, 1) : " ")) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(said.drip_ms));
  }
}

std::vector<SeenRequest> ScriptedServer::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

size_t ScriptedServer::count(std::string_view part) const {
  const auto all = seen();
  return static_cast<size_t>(std::ranges::count_if(
      all, [part](const SeenRequest& request) { return request.target.contains(part); }));
}

bool ScriptedServer::has_seen(std::string_view text) const {
  const auto all = seen();
  return std::ranges::any_of(all, [text](const SeenRequest& request) {
    return request.target.contains(text) || request.body.contains(text) ||
           std::ranges::any_of(request.headers,
                               [text](const auto& field) { return field.second.contains(text); });
  });
}

}  // namespace lambdo::registry
