#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/netlink.h"
#include "net/link.h"
#include "net/mac_of.h"

namespace lambdo::net {

/// Whether this machine lets tests make network namespaces, TAPs and bridges; says why not.
bool network_usable();

/// A network namespace of its own, with nothing but a loopback interface, and /sys showing it. The test's
/// thread is in it until this ends.
class Namespace {
 public:
  Namespace();
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;
  ~Namespace();

  NetlinkSocket& socket() { return *socket_; }
  [[nodiscard]] const Fd& handle() const { return handle_; }
  /// Runs `work` in this one, for the time that it takes.
  void inside(const std::function<void()>& work) const;

 private:
  Fd before_;
  Fd handle_;
  std::optional<NetlinkSocket> socket_;
};

/// A folder that is empty at first, and gone afterwards.
class TestFolder {
 public:
  TestFolder();
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  ~TestFolder();

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// The value, or the test fails with the error.
template <typename T>
T value_of(Result<T> result);
void require_ok(const Result<>& result);

[[noreturn]] void fail_test(const Error& error);

template <typename T>
T value_of(Result<T> result) {
  if (!result) fail_test(result.error());
  return std::move(*result);
}

}  // namespace lambdo::net
