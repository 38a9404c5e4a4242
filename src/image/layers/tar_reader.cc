#include "image/layers/tar_reader.h"

#include <cerrno>
#include <string>
#include <utility>

namespace lambdo::image {

TarReader::TarReader(LayerStream& stream) : stream_(&stream), archive_(::archive_read_new()) {}

Result<> TarReader::open() {
  if (!archive_) return fail(Code::resource_exhausted, "no memory for a reader of archives");
  archive* handle = archive_.get();
  if (::archive_read_support_format_tar(handle) != ARCHIVE_OK ||
      ::archive_read_support_filter_none(handle) != ARCHIVE_OK ||
      ::archive_read_open(handle, this, nullptr, &TarReader::give, nullptr) != ARCHIVE_OK) {
    return std::unexpected(failed());
  }
  return {};
}

la_ssize_t TarReader::give(archive* handle, void* self, const void** data) {
  auto* reader = static_cast<TarReader*>(self);
  auto next = reader->next_bytes();
  if (!next) {
    // Our own error is what is reported; libarchive only has to stop.
    ::archive_set_error(handle, EIO, "no more input");
    reader->stream_error_ = std::move(next).error();
    return ARCHIVE_FATAL;
  }
  *data = next->data();
  return static_cast<la_ssize_t>(next->size());
}

Result<std::span<const std::byte>> TarReader::next_bytes() {
  // What comes in one piece may hold many headers: only whole pieces count.
  if (in_header_ && header_bytes_ > kMaxHeaderBytes) {
    return fail(Code::image_too_large, "an entry's header of over " + std::to_string(kMaxHeaderBytes) +
                                           " bytes, pax records included");
  }
  const auto bytes = TRY(stream_->next());
  if (in_header_) header_bytes_ += bytes.size();
  return bytes;
}

Error TarReader::failed() const {
  if (stream_error_) return *stream_error_;
  const char* text = ::archive_error_string(archive_.get());
  return {.code = Code::layer_invalid,
          .message = text != nullptr ? std::string(text) : "the tar archive is damaged"};
}

Result<archive_entry*> TarReader::next() {
  // What nobody has read of the last content is none of the header's bytes.
  if (std::exchange(in_content_, false) && ::archive_read_data_skip(archive_.get()) < ARCHIVE_WARN) {
    return std::unexpected(failed());
  }
  archive_entry* entry = nullptr;
  in_header_ = true;
  header_bytes_ = 0;
  const int status = ::archive_read_next_header(archive_.get(), &entry);
  in_header_ = false;
  in_content_ = status == ARCHIVE_OK || status == ARCHIVE_WARN;
  // ARCHIVE_WARN: a name that is not in the locale's encoding. It is there all the same, as bytes.
  if (in_content_) return entry;
  if (status == ARCHIVE_EOF && !stream_error_) return nullptr;
  return std::unexpected(failed());
}

Result<std::optional<TarReader::Block>> TarReader::read() {
  const void* data = nullptr;
  size_t len_bytes = 0;
  la_int64_t offset = 0;
  const int status = ::archive_read_data_block(archive_.get(), &data, &len_bytes, &offset);
  if (status == ARCHIVE_EOF) return std::nullopt;
  if ((status != ARCHIVE_OK && status != ARCHIVE_WARN) || offset < 0) return std::unexpected(failed());
  return Block{.data = {static_cast<const std::byte*>(data), len_bytes},
               .offset = static_cast<uint64_t>(offset)};
}

}  // namespace lambdo::image
