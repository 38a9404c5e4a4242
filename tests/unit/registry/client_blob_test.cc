#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "fixture.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "test.h"

namespace lambdo::registry {
namespace {

TEST_CASE("a blob reaches its sink in order, in bounded pieces") {
  Shelf shelf;
  const std::string content = sample_text(3'000'000);
  const Descriptor blob = shelf.add_blob("app", content, media_type::kOciLayer);
  const Descriptor empty = shelf.add_blob("app", "", media_type::kOciLayer);
  ScriptedServer server([&](const SeenRequest& request) { return shelf.serve(request); });
  TestClient client({server.host()});
  MemorySink sink;
  REQUIRE(client.blob_into(server.host() + "/app", blob, sink));
  CHECK(sink.content == content);
  CHECK(sink.largest_piece <= 256 << 10);
  CHECK(client.blob(server.host() + "/app", empty).value().empty());
}

/// The first half of a reply's body, or as much as `body_bytes`: then the connection breaks.
Reply cut(Reply whole, size_t body_bytes) {
  whole.bytes.resize(whole.bytes.find("\r\n\r\n") + 4 + body_bytes);
  return whole;
}

TEST_CASE("a blob whose connection breaks is resumed where it broke") {
  Shelf shelf;
  const std::string content = sample_text(1'000'000);
  const Descriptor blob = shelf.add_blob("app", content, media_type::kOciLayer);
  std::atomic<int> breaks = 0;
  ScriptedServer server([&](const SeenRequest& request) {
    Reply whole = shelf.serve(request);
    return request.target.contains("/blobs/") && breaks++ < 3 ? cut(whole, 200'000) : whole;
  });
  TestClient client({server.host()});
  CHECK(client.blob(server.host() + "/app", blob).value() == content);
  std::vector<std::string> ranges;
  for (const SeenRequest& request : server.seen()) {
    if (request.target.contains("/blobs/")) ranges.push_back(request.header("range"));
  }
  CHECK(ranges == std::vector<std::string>{"", "bytes=200000-", "bytes=400000-", "bytes=600000-"});
}

TEST_CASE("a server that ignores Range gives the whole, of which the rest is taken") {
  Shelf shelf;
  const std::string content = sample_text(1'000'000);
  const Descriptor blob = shelf.add_blob("app", content, media_type::kOciLayer);
  std::atomic<int> breaks = 0;
  ScriptedServer server([&](SeenRequest request) {
    request.headers.erase("range");
    Reply whole = shelf.serve(request);
    return request.target.contains("/blobs/") && breaks++ < 2
               ? cut(whole, size_t{400'000} * static_cast<size_t>(breaks))
               : whole;
  });
  TestClient client({server.host()});
  CHECK(client.blob(server.host() + "/app", blob).value() == content);
  CHECK(server.count("/blobs/") == 3);
}

TEST_CASE("progress makes patience new, and no progress ends it") {
  Shelf shelf;
  const std::string content = sample_text(2'000'000);
  const Descriptor blob = shelf.add_blob("app", content, media_type::kOciLayer);
  std::atomic<bool> stuck = false;
  ScriptedServer server([&](const SeenRequest& request) {
    Reply whole = shelf.serve(request);
    if (!request.target.contains("/blobs/")) return whole;
    const size_t body_bytes = whole.bytes.size() - whole.bytes.find("\r\n\r\n") - 4;
    return cut(whole, stuck ? 10 : std::min<size_t>(body_bytes, 100'000));
  });
  TestClient client({server.host()});
  CHECK(client.blob(server.host() + "/app", blob).value() == content);
  CHECK(server.count("/blobs/") == 20);
  stuck = true;
  const auto failed = client.blob(server.host() + "/app", blob);
  REQUIRE(!failed);
  CHECK(failed.error().code == Code::closed);
  CHECK(server.count("/blobs/") == 25);
}

TEST_CASE("content that is not what its descriptor says is refused, and never more than announced arrives") {
  const std::string content = sample_text(300'000);
  const Descriptor blob{.media_type = std::string(media_type::kOciLayer),
                        .digest = Digest::of(content),
                        .size_bytes = content.size()};
  std::string damaged = content;
  damaged[150'000] = static_cast<char>(damaged[150'000] ^ 1);
  const std::string chunk = "40000\r\n";  // 256 KiB
  const struct {
    const char* name;
    Reply said;
    Code code;
    std::string_view text;
  } rows[] = {
      {"another digest", reply(200, damaged), Code::digest_mismatch, "the content has the digest"},
      {"shorter by its head", reply(200, content.substr(1)), Code::size_mismatch, "has 299999 bytes"},
      {"longer by its head", reply(200, content + "x"), Code::size_mismatch, "has 300001 bytes"},
      {"chunked and shorter",
       reply(200, chunk + content.substr(0, 0x40000) + "\r\n0\r\n\r\n", {{"Transfer-Encoding", "chunked"}}),
       Code::size_mismatch, "has 262144 bytes"},
      {"chunked and longer",
       reply(
           200,
           chunk + content.substr(0, 0x40000) + "\r\n" + chunk + content.substr(0, 0x40000) + "\r\n0\r\n\r\n",
           {{"Transfer-Encoding", "chunked"}}),
       Code::size_mismatch, "has more bytes"},
      {"endless", Reply{.bytes = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", .endless = true},
       Code::size_mismatch, "has more bytes"},
      {"a part that nobody asked for",
       reply(206, content.substr(10), {{"Content-Range", "bytes 10-299999/300000"}}), Code::registry_failed,
       "another part"},
      {"a part without its place", reply(206, content), Code::registry_failed, "another part"},
      {"compressed on the way", reply(200, content, {{"Content-Encoding", "gzip"}}), Code::registry_failed,
       "compressed for the way"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.name);
    ScriptedServer server(
        [&](const SeenRequest& request) { return request.target == "/v2/" ? reply(200) : row.said; });
    TestClient client({server.host()});
    MemorySink sink;
    const auto outcome = client.blob_into(server.host() + "/app", blob, sink);
    REQUIRE(!outcome);
    CHECK_MESSAGE(outcome.error().code == row.code, outcome.error().message);
    CHECK_MESSAGE(says(outcome.error(), row.text), outcome.error().message);
    CHECK(sink.content.size() <= content.size());
    CHECK(server.count("/blobs/") == 1);
  }
}

TEST_CASE("a resumed part must be the one that is missing") {
  Shelf shelf;
  const std::string content = sample_text(300'000);
  const Descriptor blob = shelf.add_blob("app", content, media_type::kOciLayer);
  for (const std::string range :
       {"bytes 0-199999/300000", "bytes 100001-299999/300000", "bytes 100000-299999/300001",
        "bytes 299999-100000/300000", "lines 1-2/3", ""}) {
    CAPTURE(range);
    std::atomic<int> requests = 0;
    ScriptedServer server([&](const SeenRequest& request) {
      if (!request.target.contains("/blobs/")) return shelf.serve(request);
      if (requests++ == 0) return cut(shelf.serve(request), 100'000);
      return reply(206, content.substr(100'000), {{"Content-Range", range}});
    });
    TestClient client({server.host()});
    const auto outcome = client.blob(server.host() + "/app", blob);
    REQUIRE(!outcome);
    CHECK((outcome.error().code == Code::registry_failed || outcome.error().code == Code::size_mismatch));
  }
}

TEST_CASE("a body that ends with its connection and without a length may have been cut, and is resumed") {
  Shelf shelf;
  const std::string content = sample_text(300'000);
  const Descriptor blob = shelf.add_blob("app", content, media_type::kOciLayer);
  std::atomic<int> requests = 0;
  ScriptedServer server([&](const SeenRequest& request) {
    if (!request.target.contains("/blobs/") || requests++ > 0) return shelf.serve(request);
    return Reply{.bytes = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + content.substr(0, 100'000)};
  });
  TestClient client({server.host()});
  CHECK(client.blob(server.host() + "/app", blob).value() == content);
}

TEST_CASE("the sink's own error ends the download, and is not tried again") {
  Shelf shelf;
  const Descriptor blob = shelf.add_blob("app", sample_text(2'000'000), media_type::kOciLayer);
  ScriptedServer server([&](const SeenRequest& request) { return shelf.serve(request); });
  TestClient client({server.host()});
  MemorySink sink;
  sink.fail_after = 1;
  const auto outcome = client.blob_into(server.host() + "/app", blob, sink);
  REQUIRE(!outcome);
  CHECK(outcome.error().code == Code::resource_exhausted);
  CHECK(outcome.error().message == "the disk is full");
  CHECK(server.count("/blobs/") == 1);
}

TEST_CASE("a download that is cancelled ends, whatever the server does") {
  const Descriptor blob{
      .media_type = std::string(media_type::kOciLayer), .digest = Digest::of("x"), .size_bytes = 1ULL << 40};
  ScriptedServer server([&](const SeenRequest& request) {
    if (request.target == "/v2/") return reply(200);
    return Reply{.bytes = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", .endless = true};
  });
  TestClient client({server.host()});
  MemorySink sink;
  reactor::Deadline deadline(client.reactor(), client.reactor().now_ns() + 50'000'000);
  const auto outcome = client.blob_into(server.host() + "/app", blob, sink, deadline.token());
  REQUIRE(!outcome);
  CHECK(outcome.error().code == Code::cancelled);
}

Task<> fetch_one(Client& client, Reference reference, Descriptor blob, MemorySink& sink, Result<>& outcome) {
  outcome = co_await client.fetch_blob(std::move(reference), std::move(blob), sink, {});
}

struct Download {
  Descriptor blob;
  MemorySink sink;
  Result<> outcome;
};

Task<> fetch_all(reactor::Reactor& reactor, Client& client, Reference reference,
                 std::vector<Download>& downloads) {
  reactor::Scope scope(reactor);
  for (Download& download : downloads) {
    scope.spawn(fetch_one(client, reference, download.blob, download.sink, download.outcome));
  }
  co_await scope.join();
}

TEST_CASE("many blobs at once all arrive, and nothing is left open") {
  const size_t before = sys::list_directory("/proc/self/fd").value().size();
  {
    Shelf shelf;
    std::vector<Download> downloads(12);
    for (size_t i = 0; i < downloads.size(); ++i) {
      downloads[i].blob =
          shelf.add_blob("app", sample_text(400'000, static_cast<unsigned>(i)), media_type::kOciLayer);
    }
    ScriptedServer server([&](const SeenRequest& request) { return shelf.serve(request); });
    TestClient client({server.host()});
    client.reactor().run(fetch_all(client.reactor(), client.client(),
                                   Reference::parse(server.host() + "/app").value(), downloads));
    for (const Download& download : downloads) {
      REQUIRE_MESSAGE(download.outcome, download.outcome.error().message);
      CHECK(Digest::of(download.sink.content) == download.blob.digest);
    }
    // Asked once how it wants to be asked.
    CHECK(server.count("/v2/") == downloads.size() + 1);
  }
  CHECK(sys::list_directory("/proc/self/fd").value().size() == before);
}

}  // namespace
}  // namespace lambdo::registry
