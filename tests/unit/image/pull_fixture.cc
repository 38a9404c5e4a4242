#include "pull_fixture.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <utility>

#include "base/syscalls.h"
#include "store_fixture.h"
#include "test.h"

namespace lambdo::image {

namespace {

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

uint16_t free_port() {
  const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t len = sizeof address;
  REQUIRE(::bind(probe.get(), reinterpret_cast<sockaddr*>(&address), len) == 0);
  REQUIRE(::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &len) == 0);
  return ntohs(address.sin_port);
}

bool answers(uint16_t port) {
  const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

RealRegistry::RealRegistry(const std::string& folder) : log_(folder + "/registry.log") {
  const uint16_t port = free_port();
  host_ = "127.0.0.1:" + std::to_string(port);
  const std::string config = folder + "/registry.yml";
  write_file(config,
             "version: 0.1\nlog: {level: error, accesslog: {disabled: false}}\n"
             "storage: {filesystem: {rootdirectory: " +
                 folder + "/registry}}\nhttp: {addr: " + host_ + "}\n");
  pid_ = ::fork();
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) {
    const int log = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::execl("/usr/bin/docker-registry", "docker-registry", "serve", config.c_str(), nullptr);
    ::_exit(127);
  }
  for (int i = 0; i < 1000 && !answers(port); ++i) ::usleep(10'000);
  REQUIRE(answers(port));
}

RealRegistry::~RealRegistry() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::string RealRegistry::push(const std::string& source, const std::string& name,
                               const std::string& options) const {
  shell("skopeo copy -q --dest-tls-verify=false " + options + " oci:" + source + " docker://" + host_ + "/" +
        name);
  return host_ + "/" + name;
}

std::vector<std::string> RealRegistry::requests() const {
  std::istringstream lines(*sys::read_file(log_));
  std::vector<std::string> requests;
  for (std::string line; std::getline(lines, line);) {
    const size_t quote = line.find("] \"");
    if (quote == std::string::npos) continue;
    const size_t start = quote + 3;
    requests.push_back(line.substr(start, line.find(" HTTP/", start) - start));
  }
  return requests;
}

size_t RealRegistry::blob_requests() const {
  return static_cast<size_t>(std::ranges::count_if(requests(), [](const std::string& line) {
    return line.starts_with("GET ") && line.contains("/blobs/sha256:");
  }));
}

TestPuller::TestPuller(Store& store, const std::string& host, PullSettings settings) {
  auto reactor = reactor::Reactor::create();
  REQUIRE(reactor);
  reactor_ = std::move(*reactor);
  pool_ = std::make_unique<reactor::BlockingPool>(*reactor_, 4);
  auto http = http::Client::create(*reactor_, {});
  REQUIRE_MESSAGE(http, http.error().message);
  http_ = std::move(*http);
  registry::Settings registry_settings;
  registry_settings.hosts[host].plain_http = true;
  registry_settings.docker_config_folder.clear();
  registry_settings.first_delay_ms = 10;
  client_ = std::make_unique<registry::Client>(*reactor_, *http_, *pool_, registry_settings);
  puller_ = std::make_unique<Puller>(*reactor_, *pool_, *client_, store, settings);
}

TestPuller::~TestPuller() {
  reactor_->run(http_->close());
}

Result<PulledImage> TestPuller::pull(const PullRequest& request, Progress* progress, CancelToken token) {
  return reactor_->run(puller_->pull(request, progress, token));
}

PullRequest request_for(const std::string& reference, bool unpack) {
  const auto parsed = Reference::parse(reference);
  REQUIRE(parsed);
  return {.reference = *parsed, .platform = {}, .unpack = unpack, .source = {}};
}

std::string make_big_layout(const std::string& folder, size_t layers, size_t layer_bytes) {
  const std::string layout = folder + "/big";
  const std::string image = layout + ":big";
  shell("umoci init --layout " + layout + " && umoci new --image " + image);
  for (size_t i = 0; i < layers; ++i) {
    const std::string tree = folder + "/tree";
    const std::string own = tree + "/layer" + std::to_string(i);
    shell("rm -rf " + tree + " && mkdir -p " + own + "/deep/er " + tree + "/shared && cd " + own +
          " && head -c " + std::to_string(layer_bytes) + " /dev/urandom | split -a 3 -b 40000 - part" +
          " && ln partaaa deep/er/hard && ln -s ../partaaa deep/soft && echo " + std::to_string(i) +
          " > ../shared/latest && echo x > ../shared/from" + std::to_string(i) + " && chmod 4755 partaaa");
    if (i > 0) shell("touch " + tree + "/shared/.wh.from" + std::to_string(i - 1));
    shell("tar -C " + tree + " -cf " + folder + "/tree.tar . && umoci raw add-layer --image " + image + " " +
          folder + "/tree.tar");
  }
  return image;
}

std::string listing_of(const std::string& folder) {
  const std::string file = folder + ".listing";
  shell("cd " + folder + " && { find . -printf '%P %M %U:%G %n %l\\n' | sort;" +
        " find . -type f -print0 | sort -z | xargs -0 sha256sum; } > " + file);
  return *sys::read_file(file);
}

}  // namespace lambdo::image
