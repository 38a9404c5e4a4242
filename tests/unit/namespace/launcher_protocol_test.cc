#include "namespace/launcher_protocol.h"

#include <random>

#include "test.h"

namespace lambdo::namespaces {

static Result<Message> decode_text(const std::string& bytes) {
  return helper::decode(launcher_protocol(), std::as_bytes(std::span(bytes)));
}

static std::string encoded(const Message& message) {
  Result<std::string> bytes = helper::encode(launcher_protocol(), message);
  REQUIRE(bytes);
  return *bytes;
}

TEST_CASE("every kind of message comes back as it was sent") {
  const Message messages[] = {
      encode_spec({.name = "c", .rootfs = "/r", .agent_path = "/a", .environment = {{"A", "1"}, {"B", ""}}}),
      {.kind = MessageKind::launch, .request = 7, .numbers = {1, ~uint64_t{0}}},
      {.kind = MessageKind::set_limits, .request = 8, .numbers = {1, 2, 3}},
      {.kind = MessageKind::usage, .request = 9, .numbers = {1}},
      {.kind = MessageKind::destroy, .request = 10, .numbers = {1}},
      {.kind = MessageKind::stop, .request = 11},
      {.kind = MessageKind::success, .request = 12, .numbers = {0, 0, 1}},
      helper::encode_failure({Code::unavailable, 5, "no bubblewrap"}),
      {.kind = MessageKind::exited, .numbers = {4, 256}, .texts = {"bwrap: no"}},
      {.kind = MessageKind::ready, .texts = {"w"}},
  };
  for (const Message& message : messages) {
    const Result<Message> decoded = decode_text(encoded(message));
    REQUIRE(decoded);
    CHECK(*decoded == message);
  }
}

TEST_CASE("specification and failure survive the way") {
  const SandboxSpec spec{.name = "python",
                         .rootfs = "/images/python",
                         .agent_path = "/agent",
                         .environment = {{"PATH", "/bin:/usr/bin"}, {"EMPTY", ""}},
                         .memory_mb = 512,
                         .processes = 99,
                         .disk_mb = 17,
                         .cpu_percent = 150,
                         .uid = 33,
                         .gid = 34,
                         .networked = true,
                         .resolver_file = "nameserver 192.0.2.53\n"};
  const Result<SandboxSpec> decoded = decode_spec(encode_spec(spec));
  REQUIRE(decoded);
  CHECK(*decoded == spec);
  const Error error = helper::decode_failure(helper::encode_failure({Code::engine_failed, 12, "text"}));
  CHECK(error.code == Code::engine_failed);
  CHECK(error.os_errno == 12);
  CHECK(error.message == "text");
}

TEST_CASE("a message cut off anywhere or with more at its end is refused") {
  const std::string bytes = encoded(
      encode_spec({.name = "c", .rootfs = "/r", .agent_path = "/a", .environment = {{"NAME", "value"}}}));
  for (size_t len_bytes = 0; len_bytes < bytes.size(); ++len_bytes) {
    CHECK_FALSE(decode_text(bytes.substr(0, len_bytes)));
  }
  CHECK_FALSE(decode_text(bytes + "x"));
}

TEST_CASE("counts and kinds that do not belong together are refused") {
  const std::string launch = encoded({.kind = MessageKind::launch, .numbers = {1, 2}});
  const struct {
    size_t offset;
    char value;
  } changes[] = {{0, 10}, {0, -1}, {0, static_cast<char>(MessageKind::stop)}, {1, 0}, {1, 3},
                 {2, 1},  {3, -1}};
  for (const auto& [offset, value] : changes) {
    std::string bytes = launch;
    bytes[offset] = value;
    CHECK_FALSE(decode_text(bytes));
  }
}

TEST_CASE("random bytes and single changed bytes never decode to a wrong shape") {
  std::mt19937 random(1);
  const std::string valid = encoded(helper::encode_failure({Code::io, 1, "message"}));
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = valid;
    bytes[random() % bytes.size()] = static_cast<char>(random());
    const Result<Message> decoded = decode_text(bytes);
    if (decoded && decoded->kind == MessageKind::failure) {
      CHECK(decoded->numbers.size() == 2);
      CHECK(decoded->texts.size() == 1);
      CHECK(helper::decode_failure(*decoded).code <= kLastCode);
    }
  }
}

TEST_CASE("what is too large to send is refused with a reason") {
  SandboxSpec spec{.name = "big", .rootfs = "/r", .agent_path = "/a"};
  spec.environment.emplace_back("HUGE", std::string(helper::kMaxMessageBytes, 'x'));
  const Result<std::string> bytes = helper::encode(launcher_protocol(), encode_spec(spec));
  REQUIRE_FALSE(bytes);
  CHECK(bytes.error().code == Code::invalid_argument);
}

TEST_CASE("a specification that could change the command line's meaning or has absurd limits is refused") {
  const SandboxSpec good{.name = "c", .rootfs = "/r", .agent_path = "/a", .environment = {{"A", "1"}}};
  CHECK(decode_spec(encode_spec(good)));
  using Change = void (*)(Message&);
  const Change changes[] = {
      [](Message& message) { message.texts[1] = std::string("/r\0x", 4); },
      [](Message& message) { message.texts[5] = std::string("\0", 1); },
      [](Message& message) { message.texts[4] = ""; },
      [](Message& message) { message.texts[4] = "A=B"; },
      [](Message& message) { message.texts.pop_back(); },
      [](Message& message) { message.numbers[0] = 0; },
      [](Message& message) { message.numbers[0] = ~uint64_t{0}; },
      [](Message& message) { message.numbers[1] = 0; },
      [](Message& message) { message.numbers[2] = 0; },
      [](Message& message) { message.numbers[2] = uint64_t{1} << 44; },
      [](Message& message) { message.numbers[3] = uint64_t{1} << 32; },
      [](Message& message) { message.numbers[4] = 0; },
      [](Message& message) { message.numbers[5] = 0; },
      [](Message& message) { message.numbers[5] = 0xffff'ffff; },
  };
  for (const Change change : changes) {
    Message message = encode_spec(good);
    change(message);
    const Result<SandboxSpec> decoded = decode_spec(message);
    REQUIRE_FALSE(decoded);
    CHECK(decoded.error().code == Code::invalid_argument);
  }
}

}  // namespace lambdo::namespaces
