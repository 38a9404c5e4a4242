#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/json.h"
#include "base/syscalls.h"
#include "image/store/store.h"

/// What is made of images: root file systems and boot archives. Either is under its name only when it is
/// whole and on the disk.
namespace lambdo::image {

namespace {

std::string initramfs_path(const std::string& store, const Digest& manifest, std::string_view key) {
  const auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  CHECK(!key.empty() && key.size() <= 64 && std::ranges::all_of(key, plain));
  return store + "/initramfs/" + manifest.hex() + "-" + std::string(key);
}

}  // namespace

std::string Store::rootfs_path(const Digest& manifest) const {
  return folder_ + "/rootfs/" + manifest.hex();
}

std::optional<std::string> Store::find_rootfs(const Digest& manifest) const {
  std::string path = rootfs_path(manifest) + "/rootfs";
  if (!sys::exists(path)) return std::nullopt;
  return path;
}

Result<std::string> Store::keep_rootfs(TemporaryFolder folder, const Digest& manifest, uint64_t bytes) {
  JsonWriter info;
  info.begin_object().field("bytes", bytes).end_object();
  TRY(write_small_file(folder.path() + "/info.json", info.text()));
  // One sync of the whole file system is far cheaper than one of each file.
  TRY(sys::sync_file_system(folder.path()));
  const FileLock lock = TRY(shared_lock());
  if (TRY(sys::rename_if_free(folder.path(), rootfs_path(manifest)))) folder.forget();
  TRY(sys::sync_folder(folder_ + "/rootfs"));
  return rootfs_path(manifest) + "/rootfs";
}

std::optional<std::string> Store::find_initramfs(const Digest& manifest, std::string_view key) const {
  std::string path = initramfs_path(folder_, manifest, key);
  if (!sys::exists(path)) return std::nullopt;
  return path;
}

Result<std::string> Store::keep_initramfs(TemporaryFile file, const Digest& manifest, std::string_view key) {
  TRY(sys::fsync(file.fd(), file.path()));
  const FileLock lock = TRY(shared_lock());
  std::string path = initramfs_path(folder_, manifest, key);
  if (TRY(sys::rename_if_free(file.path(), path))) file.forget();
  TRY(sys::sync_folder(folder_ + "/initramfs"));
  return path;
}

}  // namespace lambdo::image
