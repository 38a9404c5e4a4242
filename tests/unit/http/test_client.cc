#include "test_client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "base/check.h"
#include "base/syscalls.h"
#include "base/text.h"

namespace lambdo::http {

/// A ring that this thread had before interrupts its calls while the kernel takes it down, and with a timeout
/// set they are not restarted.
template <typename Call>
static ssize_t retry_interrupted(Call call) {
  ssize_t result = 0;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

TestClient::TestClient(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  CHECK(socket_.valid());
  const timeval timeout{10, 0};
  ::setsockopt(fd(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  const int on = 1;
  ::setsockopt(fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(::connect(fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

bool TestClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count =
        retry_interrupted([&] { return ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL); });
    if (count < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

bool TestClient::fill() {
  std::array<char, 65536> bytes{};
  const ssize_t count = retry_interrupted([&] { return ::recv(fd(), bytes.data(), bytes.size(), 0); });
  if (count <= 0) return false;
  buffer_.append(bytes.data(), static_cast<size_t>(count));
  return true;
}

bool TestClient::read_line(std::string& line) {
  size_t end = 0;
  while ((end = buffer_.find("\r\n")) == std::string::npos) {
    if (!fill()) return false;
  }
  line = buffer_.substr(0, end);
  buffer_.erase(0, end + 2);
  return true;
}

bool TestClient::read_bytes(std::string& out, size_t len_bytes) {
  while (buffer_.size() < len_bytes) {
    if (!fill()) return false;
  }
  out.append(buffer_, 0, len_bytes);
  buffer_.erase(0, len_bytes);
  return true;
}

bool TestClient::read_chunks(std::string& out) {
  std::string line;
  while (read_line(line)) {
    const size_t len_bytes = std::strtoul(line.c_str(), nullptr, 16);
    std::string end;
    if (!read_bytes(out, len_bytes) || !read_line(end)) return false;
    if (len_bytes == 0) return true;
  }
  return false;
}

RawResponse TestClient::receive(bool has_body) {
  RawResponse response;
  std::string line;
  if (!read_line(line) || !line.starts_with("HTTP/1.1 ")) return {};
  const int status = std::atoi(line.c_str() + 9);
  response.head = line + "\r\n";
  while (true) {
    if (!read_line(line)) return {};
    if (line.empty()) break;
    response.head += line + "\r\n";
    const size_t colon = line.find(": ");
    response.headers[to_lower(line.substr(0, colon))] = line.substr(colon + 2);
  }
  bool whole = true;
  if (!has_body || status / 100 == 1 || status == 204) {
    // Nothing follows.
  } else if (response.headers.contains("transfer-encoding")) {
    whole = read_chunks(response.body);
  } else if (response.headers.contains("content-length")) {
    whole = read_bytes(response.body, std::strtoul(response.headers["content-length"].c_str(), nullptr, 10));
  } else {
    response.body = receive_all();
  }
  if (whole) response.status = status;
  return response;
}

bool TestClient::ended() {
  if (!buffer_.empty()) return false;
  char byte = 0;
  return retry_interrupted([&] { return ::recv(fd(), &byte, 1, 0); }) == 0;
}

std::string TestClient::receive_all() {
  while (fill()) {
  }
  return std::exchange(buffer_, {});
}

RawResponse TestClient::exchange(std::string_view bytes) {
  send(bytes);
  return receive();
}

void TestClient::shutdown_write() {
  ::shutdown(fd(), SHUT_WR);
}

void TestClient::reset() {
  const linger option{1, 0};
  ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &option, sizeof option);
  close();
}

size_t open_descriptors() {
  const auto entries = sys::list_directory("/proc/self/fd");
  CHECK(entries.has_value());
  return entries->size() - 1;  // without the one that lists
}

}  // namespace lambdo::http
