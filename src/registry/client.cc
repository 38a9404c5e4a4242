#include "registry/client.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/log.h"
#include "registry/blob_writer.h"
#include "registry/job.h"
#include "registry/platform.h"
#include "registry/session.h"

namespace lambdo::registry {

namespace {

constexpr size_t kMaxHosts = 256;
/// Indexes within each other, the one that the reference names included.
constexpr unsigned kMaxDepth = 3;
/// Manifests and indexes that one reference may lead to.
constexpr unsigned kMaxDocuments = 16;
/// Before another server is asked.
constexpr unsigned kMirrorAttempts = 2;
/// What a try must have brought to count as progress.
constexpr uint64_t kProgressBytes = 64 << 10;

using Sessions = std::vector<std::unique_ptr<Session>>;

bool is_index(const Descriptor& entry) {
  return entry.media_type == media_type::kOciIndex || entry.media_type == media_type::kDockerIndex;
}

}  // namespace

class Client::Work {
 public:
  Work(reactor::Reactor& reactor, http::Client& http, reactor::BlockingPool& pool, Settings settings)
      : context_{.reactor = reactor, .http = http, .pool = pool, .settings = std::move(settings)} {}

  Task<Result<FetchedManifest>> fetch_manifest(const Reference& reference, const Platform& platform,
                                               CancelToken token);
  Task<Result<>> fetch_blob(const Reference& reference, const Descriptor& blob, BlobSink& sink,
                            CancelToken token);

 private:
  Result<const Sessions*> sessions_of(const std::string& host);
  [[nodiscard]] std::vector<std::string> secrets_of_host(const std::string& host) const;
  Task<Result<>> run(Job& job, const std::string& host, CancelToken token);
  Task<Result<>> run_at(Job& job, Session& session, Attempt& attempt, CancelToken token);
  Task<Result<Document>> fetch_document(const Reference& reference, std::string selector,
                                        const Descriptor* expected, CancelToken token);
  Task<Result<FetchedManifest>> choose(const Reference& reference, const Platform& platform, Document top,
                                       CancelToken token);

  const Context context_;
  std::map<std::string, Sessions> hosts_;
};

Result<const Sessions*> Client::Work::sessions_of(const std::string& host) {
  const auto known = hosts_.find(host);
  if (known != hosts_.end()) return &known->second;
  if (hosts_.size() >= kMaxHosts) {
    return fail(Code::resource_exhausted, "images of more than 256 registries; restart to use others");
  }
  Sessions sessions;
  for (Endpoint& endpoint : TRY(endpoints_of(host, context_.settings))) {
    sessions.push_back(std::make_unique<Session>(context_, std::move(endpoint)));
  }
  return &hosts_.emplace(host, std::move(sessions)).first->second;
}

/// Of the registry and its mirrors: one may repeat what it learned from another.
std::vector<std::string> Client::Work::secrets_of_host(const std::string& host) const {
  std::vector<std::string> all;
  const auto known = hosts_.find(host);
  if (known == hosts_.end()) return all;
  for (const auto& session : known->second) std::ranges::move(session->secrets(), std::back_inserter(all));
  return all;
}

Task<Result<>> Client::Work::run_at(Job& job, Session& session, Attempt& attempt, CancelToken token) {
  const unsigned max_attempts = context_.settings.max_attempts;
  Retry retry(context_.reactor, context_.settings,
              session.endpoint().is_mirror ? std::min(kMirrorAttempts, max_attempts) : max_attempts);
  for (;;) {
    const uint64_t before = job.progress_bytes();
    auto outcome = co_await job.attempt(session, attempt, token);
    if (outcome) co_return outcome;
    if (!attempt.is_ours) outcome = std::unexpected(session.redacted(std::move(outcome).error()));
    if (token.cancelled()) co_return outcome;
    if (job.progress_bytes() >= before + kProgressBytes) retry.note_progress();
    log::debug("an attempt at a registry failed", {{"registry", session.endpoint().host},
                                                   {"attempts", retry.attempts() + 1},
                                                   {"reason", outcome.error().message}});
    CO_TRY(co_await retry.wait(std::move(outcome).error(), attempt, token));
  }
}

Task<Result<>> Client::Work::run(Job& job, const std::string& host, CancelToken token) {
  const Sessions& sessions = *CO_TRY(sessions_of(host));
  for (size_t i = 0; i + 1 < sessions.size(); ++i) {
    Session& mirror = *sessions[i];
    if (mirror.is_set_aside()) continue;
    Attempt attempt;
    auto outcome = co_await run_at(job, mirror, attempt, token);
    if (outcome || attempt.is_ours || token.cancelled()) co_return outcome;
    // A mirror that does not have it works all the same.
    if (outcome.error().code == Code::not_found) continue;
    log::warning("a mirror failed; asking the next server",
                 {{"mirror", mirror.endpoint().host}, {"reason", outcome.error().message}});
    mirror.set_aside();
    if (attempt.is_wrong) CO_TRY(co_await job.restart());
  }
  Session& registry = *sessions.back();
  const bool has_others_bytes = job.progress_bytes() > 0;
  Attempt attempt;
  auto outcome = co_await run_at(job, registry, attempt, token);
  if (outcome || !attempt.is_wrong || !has_others_bytes || token.cancelled()) co_return outcome;
  // A mirror that broke off may have begun with something else.
  log::warning("what a mirror gave does not fit; fetching all from the registry",
               {{"registry", registry.endpoint().host}, {"reason", outcome.error().message}});
  CO_TRY(co_await job.restart());
  co_return co_await run_at(job, registry, attempt, token);
}

Task<Result<Document>> Client::Work::fetch_document(const Reference& reference, std::string selector,
                                                    const Descriptor* expected, CancelToken token) {
  ManifestJob job(context_.pool, reference, std::move(selector), expected);
  CO_TRY(co_await run(job, reference.host, token));
  co_return job.take();
}

static FetchedManifest fetched(Document document, std::optional<Digest> index) {
  Manifest& manifest = std::get<Manifest>(document.content);
  FetchedManifest out{.digest = document.digest, .json = std::move(document.json), .index = index};
  out.media_type = manifest.media_type;
  out.manifest = std::move(manifest);
  return out;
}

Task<Result<FetchedManifest>> Client::Work::fetch_manifest(const Reference& reference,
                                                           const Platform& platform, CancelToken token) {
  Document top = CO_TRY(co_await fetch_document(reference, reference.selector(), nullptr, token));
  if (std::holds_alternative<Manifest>(top.content)) co_return fetched(std::move(top), std::nullopt);
  co_return co_await choose(reference, platform, std::move(top), token);
}

Task<Result<FetchedManifest>> Client::Work::choose(const Reference& reference, const Platform& platform,
                                                   Document top, CancelToken token) {
  struct Pending {
    Descriptor entry;
    unsigned depth;  ///< of the index that names it
  };
  std::vector<Pending> pending;  // the next at the back
  std::vector<Platform> available;
  const auto open = [&](const Index& index, unsigned depth) {
    std::ranges::move(platforms_of(index), std::back_inserter(available));
    std::vector<Descriptor> candidates = candidates_for(index, platform);
    for (auto entry = candidates.rbegin(); entry != candidates.rend(); ++entry) {
      pending.push_back({std::move(*entry), depth});
    }
  };
  open(std::get<Index>(top.content), 1);
  for (unsigned documents = 1; !pending.empty(); ++documents) {
    const Pending next = std::move(pending.back());
    pending.pop_back();
    if (is_index(next.entry) && next.depth >= kMaxDepth) {
      co_return fail(Code::manifest_invalid, "indexes are nested more than 3 deep");
    }
    if (documents == kMaxDocuments) {
      co_return fail(Code::manifest_invalid, "the index leads to more than 16 documents for the platform");
    }
    Document document =
        CO_TRY(co_await fetch_document(reference, next.entry.digest.text(), &next.entry, token));
    if (std::holds_alternative<Manifest>(document.content)) {
      co_return fetched(std::move(document), top.digest);
    }
    open(std::get<Index>(document.content), next.depth + 1);
  }
  co_return platform_missing(platform, available, secrets_of_host(reference.host));
}

Task<Result<>> Client::Work::fetch_blob(const Reference& reference, const Descriptor& blob, BlobSink& sink,
                                        CancelToken token) {
  BlobWriter writer(context_.reactor, context_.pool, sink, blob);
  BlobJob job(reference, blob, writer);
  auto outcome = co_await run(job, reference.host, token);
  co_await writer.stop();
  co_return outcome;
}

Client::Client(reactor::Reactor& reactor, http::Client& http, reactor::BlockingPool& pool, Settings settings)
    : work_(std::make_unique<Work>(reactor, http, pool, std::move(settings))) {}

Client::~Client() = default;

// The arguments live in these frames, so what runs beneath may refer to them.

Task<Result<FetchedManifest>> Client::fetch_manifest(Reference reference, Platform platform,
                                                     CancelToken token) {
  co_return co_await work_->fetch_manifest(reference, platform, token);
}

Task<Result<>> Client::fetch_blob(Reference reference, Descriptor blob, BlobSink& sink, CancelToken token) {
  co_return co_await work_->fetch_blob(reference, blob, sink, token);
}

}  // namespace lambdo::registry
