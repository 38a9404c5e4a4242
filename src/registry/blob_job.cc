#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "base/text.h"
#include "registry/job.h"
#include "registry/minimum_rate.h"

namespace lambdo::registry {

using reactor::CancelToken;
using reactor::Task;

namespace {

struct ContentRange {
  uint64_t first = 0;
  std::optional<uint64_t> total;
};

/// "bytes 200-1023/1024", or "*" for the total (RFC 9110, 14.4).
std::optional<ContentRange> parse_content_range(std::string_view value) {
  if (!value.starts_with("bytes ")) return std::nullopt;
  value.remove_prefix(6);
  const size_t dash = value.find('-');
  const size_t slash = value.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash) return std::nullopt;
  const auto first = parse_uint(value.substr(0, dash));
  const auto last = parse_uint(value.substr(dash + 1, slash - dash - 1));
  const std::string_view total_text = value.substr(slash + 1);
  const auto total = parse_uint(total_text);
  if (!first || !last || *last < *first || (!total && total_text != "*")) return std::nullopt;
  return ContentRange{.first = *first, .total = total};
}

std::unexpected<Error> wrong_size(const Descriptor& blob, std::string_view found) {
  return fail(Code::size_mismatch, "the blob has " + std::string(found) + " bytes, its descriptor says " +
                                       std::to_string(blob.size_bytes));
}

}  // namespace

Task<Result<>> BlobJob::attempt(Session& session, Attempt& attempt, CancelToken token) {
  attempt = {};
  const std::string& repository = reference_->repository;
  const std::string what = repository + "@" + blob_->digest.text();
  const std::string where = what + " from " + session.endpoint().host;
  // The last attempt may have broken off after the last byte.
  if (writer_->received() > 0 && writer_->missing() == 0) {
    auto finished = co_await finish(attempt);
    if (finished || attempt.is_ours) co_return finished;
    co_return std::unexpected(std::move(finished).error().with_context(where));
  }
  Ask ask{
      .path = "/v2/" + repository + "/blobs/" + blob_->digest.text(), .repository = repository, .what = what};
  if (writer_->received() > 0) ask.headers.add("Range", "bytes=" + std::to_string(writer_->received()) + "-");
  http::IncomingResponse response = CO_TRY(co_await session.get(std::move(ask), attempt, token));
  const auto skip_bytes = check_head(response);
  if (!skip_bytes) co_return std::unexpected(Error(skip_bytes.error()).with_context(where));
  auto received = co_await receive(session.context(), response, *skip_bytes, attempt, token);
  if (received) received = co_await finish(attempt);
  // The words of whoever takes the content are its own.
  if (received || attempt.is_ours) co_return received;
  co_return std::unexpected(std::move(received).error().with_context(where));
}

/// How much of the body has been received before.
Result<uint64_t> BlobJob::check_head(const http::IncomingResponse& response) const {
  const auto encoding = response.headers().find("content-encoding");
  if (encoding && !equals_ignoring_case(*encoding, "identity")) {
    return fail(Code::registry_failed, "the blob came compressed for the way, which was not asked for");
  }
  const auto length = response.content_length();
  if (response.status() == 200) {
    if (length && *length != blob_->size_bytes) return wrong_size(*blob_, std::to_string(*length));
    return writer_->received();
  }
  const auto range = parse_content_range(response.headers().find("content-range").value_or(""));
  if (!range || range->first != writer_->received() || writer_->received() == 0) {
    return fail(Code::registry_failed, "the answer is another part of the blob than was asked for");
  }
  if (range->total && *range->total != blob_->size_bytes) {
    return wrong_size(*blob_, std::to_string(*range->total));
  }
  if (length && *length != writer_->missing()) {
    return wrong_size(*blob_, std::to_string(writer_->received() + *length));
  }
  return 0;
}

Task<Result<>> BlobJob::receive(const Context& context, http::IncomingResponse& response, uint64_t skip_bytes,
                                Attempt& attempt, CancelToken token) {
  MinimumRate rate(context.settings);
  for (;;) {
    const int64_t asked_ns = context.reactor.now_ns();
    auto piece = co_await response.read(token);
    if (piece && !piece->empty()) {
      const Result<> noted = rate.note(piece->bytes().size(), context.reactor.now_ns() - asked_ns);
      if (!noted) piece = std::unexpected(noted.error());
    }
    if (!piece) {
      attempt.may_pass = may_pass(piece.error().code);
      co_return std::unexpected(std::move(piece).error());
    }
    if (piece->empty()) break;
    std::span<const std::byte> bytes = piece->bytes();
    const auto skipped = static_cast<size_t>(std::min<uint64_t>(skip_bytes, bytes.size()));
    bytes = bytes.subspan(skipped);
    skip_bytes -= skipped;
    // Never more than was announced, however long the body goes on.
    if (bytes.size() > writer_->missing()) {
      attempt.is_wrong = true;
      co_return wrong_size(*blob_, "more");
    }
    auto taken = co_await writer_->take(bytes);
    if (!taken) {
      attempt.is_ours = true;
      co_return taken;
    }
  }
  if (writer_->missing() == 0) co_return Result<>();
  // A body without a length that ends with its connection may have been cut.
  const auto coding = response.headers().find("transfer-encoding");
  attempt.may_pass = !response.content_length() && !coding;
  attempt.is_wrong = !attempt.may_pass;
  co_return wrong_size(*blob_, std::to_string(writer_->received()));
}

Task<Result<>> BlobJob::finish(Attempt& attempt) {
  attempt.may_pass = false;
  auto flushed = co_await writer_->flush();
  attempt.is_ours = !flushed;
  if (!flushed) co_return flushed;
  auto compared = writer_->compare();
  attempt.is_wrong = !compared;
  co_return compared;
}

}  // namespace lambdo::registry
