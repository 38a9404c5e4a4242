#include "image/tar_reader.h"

#include <cerrno>

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
  auto next = reader->stream_->next();
  if (!next) {
    // Our own error is what is reported; libarchive only has to stop.
    ::archive_set_error(handle, EIO, "no more input");
    reader->stream_error_ = std::move(next).error();
    return ARCHIVE_FATAL;
  }
  *data = next->data();
  return static_cast<la_ssize_t>(next->size());
}

Error TarReader::failed() const {
  if (stream_error_) return *stream_error_;
  const char* text = ::archive_error_string(archive_.get());
  return {.code = Code::layer_invalid,
          .message = text != nullptr ? std::string(text) : "the tar archive is damaged"};
}

Result<archive_entry*> TarReader::next() {
  archive_entry* entry = nullptr;
  const int status = ::archive_read_next_header(archive_.get(), &entry);
  // ARCHIVE_WARN: a name that is not in the locale's encoding. It is there all the same, as bytes.
  if (status == ARCHIVE_OK || status == ARCHIVE_WARN) return entry;
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
