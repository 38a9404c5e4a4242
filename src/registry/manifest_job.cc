#include <algorithm>
#include <utility>

#include "http/client/time_limit.h"
#include "registry/job.h"

namespace lambdo::registry {

using reactor::CancelToken;
using reactor::Task;

static constexpr size_t kMaxManifestBytes = 4 << 20;

/// All that is read, in one field: not every registry looks at a second one.
static std::string accepted_types() {
  std::string out;
  for (const std::string_view type : {media_type::kOciIndex, media_type::kDockerIndex,
                                      media_type::kOciManifest, media_type::kDockerManifest}) {
    out += (out.empty() ? "" : ", ") + std::string(type);
  }
  return out;
}

std::string ManifestJob::what() const {
  return reference_->repository + (selector_.contains(':') ? "@" : ":") + selector_;
}

Task<Result<>> ManifestJob::attempt(Session& session, Attempt& attempt, CancelToken token) {
  const Context& context = session.context();
  http::TimeLimit limit(context.reactor, context.settings.answer_timeout_ms, token);
  auto fetched = co_await fetch(session, attempt, limit.token());
  if (fetched) co_return fetched;
  Error error =
      limit.explain(std::move(fetched).error(), "fetching " + what() + " from " + session.endpoint().host);
  if (error.code == Code::timeout) attempt.may_pass = true;
  co_return std::unexpected(std::move(error));
}

Task<Result<>> ManifestJob::fetch(Session& session, Attempt& attempt, CancelToken token) {
  const std::string& repository = reference_->repository;
  Ask ask{.path = "/v2/" + repository + "/manifests/" + selector_, .repository = repository, .what = what()};
  const std::string where = ask.what + " from " + session.endpoint().host;
  ask.headers.add("Accept", accepted_types());
  http::IncomingResponse response = CO_TRY(co_await session.get(ask, attempt, token));
  Received received;
  received.media_type = response.headers().find("content-type").value_or("");
  received.said_digest = response.headers().find("docker-content-digest").value_or("");
  received.secrets = session.secrets();
  auto json = co_await response.read_all(kMaxManifestBytes, token);
  if (!json) {
    Error error = std::move(json).error();
    attempt.may_pass = may_pass(error.code);
    if (error.code == Code::payload_too_large) {
      error = {Code::image_too_large, 0, "the manifest is larger than the 4 MiB that are read"};
    }
    co_return std::unexpected(std::move(error).with_context(where));
  }
  received.json = std::move(*json);
  auto document = co_await pool_->run([this, &received] { return check(std::move(received)); });
  if (!document) co_return std::unexpected(std::move(document).error().with_context(where));
  document_ = std::move(*document);
  co_return Result<>();
}

Result<Document> ManifestJob::check(Received received) const {
  Document document{.digest = Digest::of(received.json)};
  const auto compare = [&document](const Digest& wanted, std::string_view whose) -> Result<> {
    if (document.digest == wanted) return {};
    return fail(Code::digest_mismatch, "the manifest has the digest " + document.digest.text() + ", not " +
                                           std::string(whose) + " " + wanted.text());
  };
  if (expected_ != nullptr && received.json.size() != expected_->size_bytes) {
    return fail(Code::size_mismatch, "the manifest has " + std::to_string(received.json.size()) +
                                         " bytes, the index says " + std::to_string(expected_->size_bytes));
  }
  if (const auto wanted = Digest::parse(selector_)) TRY(compare(*wanted, "the one asked for,"));
  // Of another algorithm, it is checked by whoever can.
  if (const auto said = Digest::parse(received.said_digest)) TRY(compare(*said, "what the registry says,"));
  // An index is covered by a digest, a header by nothing.
  const std::string& type = expected_ != nullptr ? expected_->media_type : received.media_type;
  document.content = TRY(parse_manifest(received.json, type, received.secrets));
  document.json = std::move(received.json);
  return document;
}

}  // namespace lambdo::registry
