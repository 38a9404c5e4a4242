#include "test_tls.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/syscalls.h"

extern char** environ;

namespace lambdo::http {

static void run(const std::string& command) {
  if (std::system((command + " >/dev/null 2>&1").c_str()) != 0) {
    std::fprintf(stderr, "failed: %s\n", command.c_str());
    CHECK(false);
  }
}

static std::string new_key(const std::string& kind) {
  return kind == "rsa" ? " -newkey rsa:2048" : " -newkey ec -pkeyopt ec_paramgen_curve:P-256";
}

TestCertificates::TestCertificates() {
  folder_ = std::filesystem::temp_directory_path() / "lambdo-tls-XXXXXX";
  CHECK(::mkdtemp(folder_.data()) != nullptr);
  make_authority("ca");
}

TestCertificates::~TestCertificates() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void TestCertificates::make_authority(const std::string& name, const std::string& key) {
  run("openssl req -x509" + new_key(key) + " -nodes -days 30 -subj '/O=Lambdo tests/CN=" + name +
      "' -addext basicConstraints=critical,CA:TRUE -keyout " + path(name + ".key") + " -out " +
      path(name + ".pem"));
}

void TestCertificates::make(const std::string& name, const std::string& names, const std::string& authority,
                            const std::string& key, int days) {
  std::ofstream extensions(path(name + ".ext"));
  extensions << "basicConstraints=CA:FALSE\n";
  if (!names.empty()) extensions << "subjectAltName=" << names << "\n";
  extensions.close();
  run("openssl req" + new_key(key) + " -nodes -subj /CN=" + name + " -keyout " + path(name + ".key") +
      " -out " + path(name + ".csr"));
  run("openssl x509 -req -in " + path(name + ".csr") + " -CA " + path(authority + ".pem") + " -CAkey " +
      path(authority + ".key") + " -CAcreateserial -days " + std::to_string(days) + " -extfile " +
      path(name + ".ext") + " -out " + path(name + ".pem"));
}

TlsServer::TlsServer(const TestCertificates& certificates, const std::string& name,
                     const std::vector<std::string>& options) {
  std::vector<std::string> arguments = {"/usr/bin/python3",
                                        std::string(LAMBDO_SOURCE_ROOT) + "/tests/unit/http/tls_server.py",
                                        "--certificate",
                                        certificates.path(name + ".pem"),
                                        "--key",
                                        certificates.path(name + ".key")};
  arguments.insert(arguments.end(), options.begin(), options.end());
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  auto output = sys::pipe();
  CHECK(output.has_value());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, output->second.get(), STDOUT_FILENO);
  CHECK(::posix_spawn(&pid_, pointers[0], &actions, nullptr, pointers.data(), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  output->second.reset();
  std::string line;
  std::array<char, 64> piece{};
  while (!line.ends_with('\n')) {
    const ssize_t count = ::read(output->first.get(), piece.data(), piece.size());
    CHECK(count > 0);
    line.append(piece.data(), static_cast<size_t>(count));
  }
  port_ = static_cast<uint16_t>(std::strtoul(line.c_str(), nullptr, 10));
}

TlsServer::~TlsServer() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

}  // namespace lambdo::http
