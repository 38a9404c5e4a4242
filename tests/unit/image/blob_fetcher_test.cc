#include "image/blob_fetcher.h"

#include <memory>
#include <optional>
#include <string>

#include "../registry/scripted_server.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "store_fixture.h"
#include "test.h"

using namespace lambdo;
using namespace lambdo::image;

namespace {

constexpr std::string_view kContent = "a layer";
constexpr uint64_t kSlowBytes = 1'000'000;

/// Gives the blob at once, or a byte of one now and then.
registry::Reply serve(const registry::SeenRequest& request, bool is_slow) {
  if (!request.target.contains("/blobs/")) return registry::reply(200);
  if (!is_slow) return registry::reply(200, kContent);
  registry::Reply said = registry::reply(200, "", {{"Content-Length", std::to_string(kSlowBytes)}});
  said.drip_ms = 10;
  return said;
}

Descriptor blob_of(std::string_view content) {
  return {.media_type = std::string(registry::media_type::kOciLayer),
          .digest = Digest::of(content),
          .size_bytes = content.size()};
}

Task<> ensure_into(BlobFetcher& fetcher, std::string reference, Descriptor blob, CancelToken token,
                   std::optional<Result<bool>>& into) {
  into.emplace(co_await fetcher.ensure(*Reference::parse(reference), std::move(blob), {}, token));
}

/// Lets a download from the slow server begin, and then asks the other one.
Task<> fetch_beside(reactor::Reactor& reactor, BlobFetcher& fetcher, const registry::ScriptedServer& slow,
                    const registry::ScriptedServer& quick, std::optional<Result<bool>>& from_slow,
                    std::optional<Result<bool>>& from_quick) {
  reactor::Scope hanging(reactor);
  const Descriptor other{.media_type = "x", .digest = Digest::of("other"), .size_bytes = kSlowBytes};
  hanging.spawn(ensure_into(fetcher, slow.host() + "/app", other, hanging.token(), from_slow));
  while (slow.count("/blobs/") == 0) (void)co_await reactor::SleepOp::for_ms(reactor, 5, {});
  reactor::CancelSource patience;
  reactor::Scope asking(reactor, patience.token());
  asking.spawn(ensure_into(fetcher, quick.host() + "/app", blob_of(kContent), asking.token(), from_quick));
  for (int i = 0; i < 1000 && !from_quick; ++i) (void)co_await reactor::SleepOp::for_ms(reactor, 5, {});
  patience.cancel();
  co_await asking.join();
  hanging.cancel();
  co_await hanging.join();
}

}  // namespace

TEST_CASE("a registry that is slow takes no download from another one") {
  const StoreFolder folder;
  const auto store = folder.open();
  const registry::ScriptedServer slow([](const auto& request) { return serve(request, true); });
  const registry::ScriptedServer quick([](const auto& request) { return serve(request, false); });
  const auto reactor = *reactor::Reactor::create();
  reactor::BlockingPool pool(*reactor, 2);
  const auto http = *http::Client::create(*reactor, {});
  registry::Settings settings;
  for (const auto* server : {&slow, &quick}) settings.hosts[server->host()].plain_http = true;
  settings.docker_config_folder.clear();
  std::optional<Result<bool>> from_slow;
  std::optional<Result<bool>> from_quick;
  {
    registry::Client client(*reactor, *http, pool, settings);
    BlobFetcher fetcher(*reactor, pool, client, *store, 1);
    reactor->run(fetch_beside(*reactor, fetcher, slow, quick, from_slow, from_quick));
  }
  REQUIRE(from_quick);
  REQUIRE_MESSAGE(*from_quick, from_quick->error().message);
  CHECK(**from_quick);
  CHECK(store->has_blob(blob_of(kContent)));
  REQUIRE(from_slow);
  CHECK(from_slow->error().code == Code::cancelled);
  reactor->run(http->close());
}
