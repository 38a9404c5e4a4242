#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lambdo::http {

/// Certificates made by the openssl program, in a folder that goes with it. NAME.pem and NAME.key each.
class TestCertificates {
 public:
  TestCertificates();
  TestCertificates(const TestCertificates&) = delete;
  TestCertificates& operator=(const TestCertificates&) = delete;
  ~TestCertificates();

  [[nodiscard]] std::string path(const std::string& file) const { return folder_ + "/" + file; }
  /// An authority of its own.
  void make_authority(const std::string& name, const std::string& key = "ec");
  /// A server's certificate by `authority`: `names` as in "DNS:a.test,IP:127.0.0.1", empty for none; `key`
  /// "ec" or "rsa"; negative days have passed already.
  void make(const std::string& name, const std::string& names, const std::string& authority = "ca",
            const std::string& key = "ec", int days = 30);

 private:
  std::string folder_;
};

/// tls_server.py.
class TlsServer {
 public:
  TlsServer(const TestCertificates& certificates, const std::string& name,
            const std::vector<std::string>& options = {});
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  ~TlsServer();

  [[nodiscard]] uint16_t port() const { return port_; }

 private:
  pid_t pid_ = 0;
  uint16_t port_ = 0;
};

}  // namespace lambdo::http
