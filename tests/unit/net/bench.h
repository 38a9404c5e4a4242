#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "fixture.h"
#include "frames.h"
#include "net/address_pool.h"
#include "net/link.h"

/// A host with a bridge, an uplink to another namespace that stands for everything outside, and guests that
/// are nothing but the descriptors of their TAPs.
namespace lambdo::net {

/// Frames that arrive at a packet socket, a TAP or a datagram socket.
class Capture {
 public:
  explicit Capture(Fd fd) : fd_(std::move(fd)) {}
  /// Of all that an interface of the calling thread's namespace receives. Not what it sends.
  static Capture of_interface(const std::string& name);
  /// Of what a UDP socket of the host gets, at any of its addresses.
  static Capture of_udp_port(uint16_t port);
  /// Of what one gets at IPv6 addresses.
  static Capture of_udp6_port(uint16_t port);

  /// Whether something that contains `bytes` is there or comes within `limit`; throws away what is before it.
  bool sees(std::string_view bytes, std::chrono::milliseconds limit = std::chrono::milliseconds(0));
  /// Whether something that contains `end` comes, and nothing with `bytes` before it.
  bool sees_without(std::string_view bytes, std::string_view end, std::chrono::milliseconds limit);
  /// Throws away all that is there.
  void clear();
  [[nodiscard]] const Fd& fd() const { return fd_; }

 private:
  /// What comes next, "" for nothing within the limit.
  std::string next(long long deadline_ns) const;

  Fd fd_;
};

struct TestGuest {
  std::string port;
  Lease lease;
  Capture tap;

  /// The host has dealt with the frame when this returns, unless it goes out.
  void send(const std::string& frame) const;
};

class Bench {
 public:
  static constexpr const char* kBridge = "lambdo0";
  static constexpr const char* kPrefix = "ltest";
  static constexpr uint16_t kAgentPort = 50051;

  Bench();

  /// A TAP that is a port of the bridge. Without `isolated` the kernel's own isolation is off, so that
  /// nothing but rules is in the way.
  TestGuest add_guest(int number, bool isolated = true);
  /// From this guest to an address outside or to the host.
  [[nodiscard]] Flow flow(const TestGuest& from, const char* to, uint16_t port) const;
  /// What comes to a guest's connection from outside: from there to the address of the host's uplink.
  [[nodiscard]] static Flow flow_back(const char* from, uint16_t from_port, uint16_t to_port);
  /// A frame that comes to the uplink.
  void send_from_outside(const std::string& frame) const;
  /// The host itself sends a datagram to outside.
  static void ask_outside(uint16_t port, uint16_t from_port);
  NetlinkSocket& socket() { return space_.socket(); }
  [[nodiscard]] const Link& bridge() const { return bridge_; }
  [[nodiscard]] Ipv4Address gateway() const { return Ipv4Address{0xc0a80a01}; }
  Capture& outside() { return *outside_capture_; }
  Namespace& outside_space() { return outside_; }

 private:
  Namespace outside_;
  Namespace space_;
  Link bridge_;
  std::unique_ptr<Capture> outside_capture_;
};

Ipv4Address ip(std::string_view text);

}  // namespace lambdo::net
