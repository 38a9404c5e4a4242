#include "image/layouts/archive_file.h"

#include <unistd.h>

#include <utility>
#include <vector>

#include "image/layers/entry_path.h"

namespace lambdo::image {

namespace {

constexpr size_t kBlockBytes = 128 << 10;
constexpr size_t kMaxPathBytes = 4095;

std::string usable(const char* path) {
  if (path == nullptr) return {};
  return normal_path(path, kMaxPathBytes).value_or("");
}

/// What a symbolic link in `folder` names, from the archive's root; empty where it is outside. Only by its
/// text: there is no folder in an archive that could be a link itself.
std::string resolve(std::string_view folder, std::string_view target) {
  if (target.starts_with('/')) return {};
  std::vector<std::string_view> parts;
  for (std::string_view rest : {folder, target}) {
    while (!rest.empty()) {
      const std::string_view part = take_part(rest);
      if (part.empty() || part == ".") continue;
      if (part != "..") {
        parts.push_back(part);
      } else if (parts.empty()) {
        return {};
      } else {
        parts.pop_back();
      }
    }
  }
  std::string path;
  for (const std::string_view part : parts) path += (path.empty() ? "" : "/") + std::string(part);
  return path;
}

}  // namespace

Result<ArchiveFile> ArchiveFile::open(int fd, std::string name, uint64_t max_bytes) {
  if (::lseek(fd, 0, SEEK_SET) < 0) return fail_errno("seek in " + name);
  ArchiveFile file(std::move(name), max_bytes);
  archive* handle = file.archive_.get();
  if (handle == nullptr) return fail(Code::resource_exhausted, "no memory for a reader of archives");
  if (::archive_read_support_format_tar(handle) != ARCHIVE_OK ||
      ::archive_read_support_filter_gzip(handle) != ARCHIVE_OK ||
      ::archive_read_support_filter_zstd(handle) != ARCHIVE_OK ||
      ::archive_read_open_fd(handle, fd, kBlockBytes) != ARCHIVE_OK) {
    return file.failed();
  }
  return file;
}

std::unexpected<Error> ArchiveFile::failed() const {
  const char* text = ::archive_error_string(archive_.get());
  return fail(Code::layer_invalid, name_ + ": " + (text != nullptr ? text : "the tar archive is damaged"));
}

Result<> ArchiveFile::check_size() const {
  const la_int64_t bytes = ::archive_filter_bytes(archive_.get(), 0);
  if (bytes >= 0 && static_cast<uint64_t>(bytes) <= max_bytes_) return {};
  return fail(Code::image_too_large, name_ + " has more than " + std::to_string(max_bytes_) + " bytes");
}

Result<bool> ArchiveFile::next() {
  archive_entry* entry = nullptr;
  const int status = ::archive_read_next_header(archive_.get(), &entry);
  if (status == ARCHIVE_EOF) return false;
  // ARCHIVE_WARN: a name that is not in the locale's encoding, which nothing in manifest.json could mean.
  if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return failed();
  TRY(check_size());
  note(entry);
  return true;
}

void ArchiveFile::note(archive_entry* entry) {
  path_ = usable(::archive_entry_pathname(entry));
  target_.clear();
  const char* hard = ::archive_entry_hardlink(entry);
  const char* soft = ::archive_entry_symlink(entry);
  is_link_ = hard != nullptr || ::archive_entry_filetype(entry) == AE_IFLNK;
  is_file_ = !is_link_ && ::archive_entry_filetype(entry) == AE_IFREG;
  if (hard != nullptr) {
    target_ = usable(hard);
  } else if (is_link_ && soft != nullptr) {
    target_ = resolve(split_path(path_).folder, soft);
  }
}

Result<size_t> ArchiveFile::read(std::span<std::byte> to) {
  const la_ssize_t count = ::archive_read_data(archive_.get(), to.data(), to.size());
  if (count < 0) return failed();
  TRY(check_size());
  return static_cast<size_t>(count);
}

Result<std::string> ArchiveFile::read_all(size_t max_bytes) {
  std::string content(max_bytes + 1, '\0');
  size_t filled = 0;
  for (;;) {
    const auto rest = std::as_writable_bytes(std::span(content)).subspan(filled);
    if (rest.empty()) {
      return fail(Code::image_too_large,
                  path_ + " in " + name_ + " has more than " + std::to_string(max_bytes) + " bytes");
    }
    const size_t count = TRY(read(rest));
    if (count == 0) break;
    filled += count;
  }
  content.resize(filled);
  return content;
}

}  // namespace lambdo::image
