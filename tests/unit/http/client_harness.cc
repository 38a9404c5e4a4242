#include "client_harness.h"

#include "base/check.h"

namespace lambdo::http {

ClientSettings test_settings() {
  ClientSettings settings;
  settings.proxies = {};
  settings.name_servers = "127.0.0.1:1";
  settings.hosts_file = "/nonexistent";
  return settings;
}

ClientHarness::ClientHarness(ClientSettings settings) {
  auto reactor = reactor::Reactor::create();
  CHECK(reactor.has_value());
  reactor_ = std::move(*reactor);
  auto client = Client::create(*reactor_, std::move(settings));
  CHECK(client.has_value());
  client_ = std::move(*client);
}

ClientHarness::~ClientHarness() {
  reactor_->run(client_->close());
  client_.reset();
  CHECK(reactor_->in_flight() == 0);
}

ClientRequest ClientHarness::get_request(const std::string& url) {
  ClientRequest request;
  auto parsed = Url::parse(url);
  CHECK(parsed.has_value());
  request.url = std::move(*parsed);
  return request;
}

std::string http_url(uint16_t port, const std::string& target, const std::string& host) {
  return "http://" + host + ":" + std::to_string(port) + target;
}

std::string response_text(const std::string& body, const std::string& headers, const std::string& status) {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers +
         "\r\n" + body;
}

}  // namespace lambdo::http
