#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "base/json.h"
#include "image/layers/decompressor.h"
#include "image/layers/stored_layer.h"
#include "image/layouts/docker_archive.h"
#include "image/writers/output_file.h"
#include "registry/reference.h"

namespace lambdo::image {

namespace {

constexpr size_t kCopyBytes = 256 << 10;

std::string layer_path(const Digest& diff_id) {
  return diff_id.hex() + ".tar";
}

/// Writes a tar archive of plain files, the same bytes for the same content.
class ArchiveWriter {
 public:
  static Result<ArchiveWriter> open(int fd, std::string name);

  Result<> begin(const std::string& path, uint64_t size_bytes);
  Result<> write(std::span<const std::byte> data);
  Result<> add(const std::string& path, std::string_view content);
  Result<> close();

 private:
  struct Free {
    void operator()(archive* handle) const { ::archive_write_free(handle); }
  };
  explicit ArchiveWriter(std::string name) : name_(std::move(name)), archive_(::archive_write_new()) {}
  [[nodiscard]] std::unexpected<Error> failed() const;

  std::string name_;
  std::unique_ptr<archive, Free> archive_;
};

Result<ArchiveWriter> ArchiveWriter::open(int fd, std::string name) {
  ArchiveWriter writer(std::move(name));
  archive* handle = writer.archive_.get();
  if (handle == nullptr) return fail(Code::resource_exhausted, "no memory for a writer of archives");
  if (::archive_write_set_format_pax_restricted(handle) != ARCHIVE_OK ||
      ::archive_write_add_filter_none(handle) != ARCHIVE_OK ||
      ::archive_write_set_bytes_per_block(handle, kCopyBytes) != ARCHIVE_OK ||
      // The last block is not filled up to the size of a tape's.
      ::archive_write_set_bytes_in_last_block(handle, 512) != ARCHIVE_OK ||
      ::archive_write_open_fd(handle, fd) != ARCHIVE_OK) {
    return writer.failed();
  }
  return writer;
}

std::unexpected<Error> ArchiveWriter::failed() const {
  const int number = ::archive_errno(archive_.get());
  const char* text = ::archive_error_string(archive_.get());
  if (number > 0) return fail_errno(number, "write " + name_);
  return fail(Code::io, "write " + name_ + ": " + (text != nullptr ? text : "failed"));
}

Result<> ArchiveWriter::begin(const std::string& path, uint64_t size_bytes) {
  const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(::archive_entry_new(),
                                                                       &::archive_entry_free);
  if (!entry) return fail(Code::resource_exhausted, "no memory for an archive's entry");
  ::archive_entry_set_pathname(entry.get(), path.c_str());
  ::archive_entry_set_filetype(entry.get(), AE_IFREG);
  ::archive_entry_set_perm(entry.get(), 0444);
  ::archive_entry_set_mtime(entry.get(), 0, 0);
  ::archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size_bytes));
  if (::archive_write_header(archive_.get(), entry.get()) != ARCHIVE_OK) return failed();
  return {};
}

Result<> ArchiveWriter::write(std::span<const std::byte> data) {
  while (!data.empty()) {
    const la_ssize_t count = ::archive_write_data(archive_.get(), data.data(), data.size());
    if (count < 0) return failed();
    if (count == 0) return fail(Code::internal, "more content than was announced for " + name_);
    data = data.subspan(static_cast<size_t>(count));
  }
  return {};
}

Result<> ArchiveWriter::add(const std::string& path, std::string_view content) {
  TRY(begin(path, content.size()));
  return write(std::as_bytes(std::span(content)));
}

Result<> ArchiveWriter::close() {
  if (::archive_write_close(archive_.get()) != ARCHIVE_OK) return failed();
  return {};
}

std::unexpected<Error> too_large(uint64_t max_bytes) {
  return fail(Code::image_too_large,
              "a layer is larger than the " + std::to_string(max_bytes) + " bytes that it may have unpacked");
}

template <typename Take>
Result<uint64_t> decompress(Store& store, const Descriptor& blob, const Digest& diff_id, uint64_t max_bytes,
                            const std::atomic<bool>& stop, Take take) {
  const Fd fd = TRY(store.open_blob(blob));
  const LayerCompression compression = TRY(layer_compression(blob.media_type));
  auto plain = TRY(Decompressor::create(compression, read_blob_from(fd.get())));
  Sha256 hash;
  std::vector<std::byte> buffer(kCopyBytes);
  uint64_t size_bytes = 0;
  for (;;) {
    if (stop.load(std::memory_order_relaxed)) return fail(Code::cancelled, "stopped");
    const size_t count = TRY(plain->read(buffer));
    if (count == 0) break;
    size_bytes += count;
    if (size_bytes > max_bytes) return too_large(max_bytes);
    hash.update(std::span(buffer).first(count));
    TRY(take(std::span<const std::byte>(buffer).first(count)));
  }
  if (Digest(hash.finish()) != diff_id) {
    return fail(Code::digest_mismatch, "it is not what the configuration says");
  }
  return size_bytes;
}

/// Gives a layer's tar archive to `take` in pieces, and at the end says how large it is. A blob that is
/// damaged is moved away.
template <typename Take>
Result<uint64_t> read_plain(Store& store, const Descriptor& blob, const Digest& diff_id, uint64_t max_bytes,
                            const std::atomic<bool>& stop, Take take) {
  auto size = decompress(store, blob, diff_id, max_bytes, stop, take);
  if (!size) return std::unexpected(error_of_layer(store, blob, std::move(size).error(), stop));
  return size;
}

/// The header with the size comes first, and how large a layer is when it is decompressed nothing says: it is
/// decompressed twice, rather than kept on the disk in between.
///
/// Gives its size, at most `max_bytes`.
Result<uint64_t> add_layer(ArchiveWriter& archive, Store& store, const Descriptor& blob,
                           const Digest& diff_id, uint64_t max_bytes, const std::atomic<bool>& stop) {
  const auto nowhere = [](std::span<const std::byte>) -> Result<> { return {}; };
  const bool is_plain = blob.media_type == registry::media_type::kOciLayer ||
                        blob.media_type == registry::media_type::kDockerLayer;
  if (is_plain && blob.size_bytes > max_bytes) return too_large(max_bytes);
  const uint64_t size =
      is_plain ? blob.size_bytes : TRY(read_plain(store, blob, diff_id, max_bytes, stop, nowhere));
  TRY(archive.begin(layer_path(diff_id), size));
  const auto into_archive = [&archive](std::span<const std::byte> data) { return archive.write(data); };
  return read_plain(store, blob, diff_id, size, stop, into_archive);
}

std::string write_manifest(const LocalImage& image, const std::string& config, const std::string& tag) {
  JsonWriter json;
  json.begin_array().begin_object().field("Config", config).key("RepoTags");
  if (tag.empty()) {
    json.null();
  } else {
    json.begin_array().value(tag).end_array();
  }
  json.key("Layers").begin_array();
  for (const Digest& diff_id : image.config.diff_ids) json.value(layer_path(diff_id));
  json.end_array().end_object().end_array();
  return json.take();
}

}  // namespace

Result<> export_docker_archive(Store& store, const LocalImage& image, const std::string& file,
                               const std::string& reference, const ImageLimits& limits,
                               const std::atomic<bool>& stop) {
  std::string tag;
  if (!reference.empty()) {
    const auto parsed = TRY(registry::Reference::parse(reference));
    if (parsed.tag.empty()) return fail(Code::invalid_argument, "an archive's images have tags, not digests");
    tag = parsed.familiar();
  }
  const std::string config = TRY(store.read_blob(image.manifest.config.digest, ImageConfig::kMaxBytes));
  auto target = TRY(OutputFile::create(file));
  auto archive = TRY(ArchiveWriter::open(target.fd(), file));
  const std::string config_path = image.manifest.config.digest.hex() + ".json";
  TRY(archive.add(config_path, config));
  std::set<Digest> written;
  uint64_t left_bytes = limits.max_unpacked_bytes;
  for (size_t i = 0; i < image.manifest.layers.size(); ++i) {
    const Digest& diff_id = image.config.diff_ids[i];
    // The same layer twice is one entry.
    if (!written.insert(diff_id).second) continue;
    left_bytes -= TRY(add_layer(archive, store, image.manifest.layers[i], diff_id, left_bytes, stop));
  }
  TRY(archive.add("manifest.json", write_manifest(image, config_path, tag)));
  TRY(archive.close());
  return target.commit(0644);
}

}  // namespace lambdo::image
