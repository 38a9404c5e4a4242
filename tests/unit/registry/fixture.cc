#include "fixture.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/json.h"
#include "base/text.h"
#include "reactor/stream.h"

namespace lambdo::registry {

bool says(const Error& error, std::string_view text) {
  return error.message.find(text) != std::string::npos;
}

std::string sample_text(size_t len_bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(len_bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

std::string descriptor_json(const Descriptor& descriptor, const std::optional<Platform>& platform) {
  JsonWriter json;
  json.begin_object()
      .field("mediaType", descriptor.media_type)
      .field("digest", descriptor.digest.text())
      .field("size", descriptor.size_bytes);
  if (platform) {
    json.key("platform")
        .begin_object()
        .field("os", platform->os)
        .field("architecture", platform->architecture);
    if (!platform->variant.empty()) json.field("variant", platform->variant);
    json.end_object();
  }
  return json.end_object().take();
}

std::string index_json(const std::vector<std::string>& entries) {
  std::string out = R"({"schemaVersion":2,"manifests":[)";
  for (size_t i = 0; i < entries.size(); ++i) out += (i > 0 ? "," : "") + entries[i];
  return out + "]}";
}

Descriptor Shelf::add_blob(const std::string& repository, const std::string& content,
                           std::string_view media_type) {
  const Digest digest = Digest::of(content);
  entries_["/v2/" + repository + "/blobs/" + digest.text()] = {content, "application/octet-stream", digest};
  return {.media_type = std::string(media_type), .digest = digest, .size_bytes = content.size()};
}

Descriptor Shelf::add_document(const std::string& repository, const std::string& tag, const std::string& json,
                               std::string_view media_type) {
  const Digest digest = Digest::of(json);
  const Entry entry{json, std::string(media_type), digest};
  entries_["/v2/" + repository + "/manifests/" + digest.text()] = entry;
  if (!tag.empty()) entries_["/v2/" + repository + "/manifests/" + tag] = entry;
  return {.media_type = std::string(media_type), .digest = digest, .size_bytes = json.size()};
}

Descriptor Shelf::add_image(const std::string& repository, const std::string& tag, const std::string& layer) {
  const Descriptor config = add_blob(repository, "{}" + tag, media_type::kOciConfig);
  const Descriptor blob = add_blob(repository, layer, media_type::kOciLayerGzip);
  const std::string json = R"({"schemaVersion":2,"mediaType":")" + std::string(media_type::kOciManifest) +
                           R"(","config":)" + descriptor_json(config) + R"(,"layers":[)" +
                           descriptor_json(blob) + "]}";
  return add_document(repository, tag, json, media_type::kOciManifest);
}

Reply Shelf::serve(const SeenRequest& request) const {
  if (request.target == "/v2/") return reply(200, "{}");
  const auto found = entries_.find(request.target);
  if (found == entries_.end()) {
    const bool is_blob = request.target.contains("/blobs/");
    return refusal(404, is_blob ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN", "not here");
  }
  const Entry& entry = found->second;
  HeaderList headers = {{"Content-Type", entry.media_type}, {"Docker-Content-Digest", entry.digest.text()}};
  const std::string range = request.header("range");
  if (!range.starts_with("bytes=")) return reply(200, entry.content, headers);
  const size_t first = parse_uint(range.substr(6, range.find('-') - 6)).value();
  headers.emplace_back("Content-Range", "bytes " + std::to_string(first) + "-" +
                                            std::to_string(entry.content.size() - 1) + "/" +
                                            std::to_string(entry.content.size()));
  return reply(206, entry.content.substr(first), headers);
}

Task<Result<>> MemorySink::write(std::span<const std::byte> data) {
  largest_piece = std::max(largest_piece, data.size());
  content += reactor::as_text(data);
  if (content.size() >= fail_after) co_return fail(Code::resource_exhausted, "the disk is full");
  co_return Result<>();
}

Task<Result<>> MemorySink::restart() {
  content.clear();
  ++restarts;
  co_return Result<>();
}

Settings TestClient::quick_settings() {
  Settings settings;
  settings.docker_config_folder.clear();
  settings.first_delay_ms = 4;
  settings.max_delay_ms = 20;
  return settings;
}

TestClient::TestClient(std::vector<std::string> plain_hosts, Settings settings,
                       http::ClientSettings http_settings)
    : reactor_(reactor::Reactor::create().value()),
      pool_(std::make_unique<reactor::BlockingPool>(*reactor_, 2)) {
  http_settings.proxies = {};
  http_ = http::Client::create(*reactor_, std::move(http_settings)).value();
  for (const std::string& host : plain_hosts) settings.hosts[host].plain_http = true;
  client_ = std::make_unique<Client>(*reactor_, *http_, *pool_, std::move(settings));
}

TestClient::~TestClient() {
  client_.reset();
  reactor_->run(http_->close());
  http_.reset();
}

Result<FetchedManifest> TestClient::manifest(const std::string& reference, Platform platform) {
  return reactor_->run(client_->fetch_manifest(Reference::parse(reference).value(), std::move(platform), {}));
}

Result<std::string> TestClient::blob(const std::string& reference, const Descriptor& descriptor) {
  MemorySink sink;
  TRY(blob_into(reference, descriptor, sink));
  return std::move(sink.content);
}

Result<> TestClient::blob_into(const std::string& reference, const Descriptor& descriptor, BlobSink& sink,
                               CancelToken token) {
  return reactor_->run(client_->fetch_blob(Reference::parse(reference).value(), descriptor, sink, token));
}

}  // namespace lambdo::registry
