#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "base/fd.h"

/// More system calls that do not go through the ring: files that have to survive a crash, and trees of them.
/// All may block.
namespace lambdo::sys {

/// lstat(2); nullopt where nothing is there.
Result<std::optional<struct stat>> lstat(const std::string& path);
Result<struct stat> fstat(int fd);
/// rename(2).
Result<> rename(const std::string& from, const std::string& to);
/// renameat2(2) with RENAME_NOREPLACE: false where something is at `to` already.
Result<bool> rename_if_free(const std::string& from, const std::string& to);
/// unlink(2); false where nothing was there.
Result<bool> unlink(const std::string& path);
/// fsync(2); `what` names the object in the error.
Result<> fsync(int fd, const std::string& what);
/// fsync(2) of a folder: what was renamed into it or removed from it stays so.
Result<> sync_folder(const std::string& path);
/// syncfs(2): all that was written to the file system that `path` is on.
Result<> sync_file_system(const std::string& path);
/// sync_file_range(2), SYNC_FILE_RANGE_WRITE: starts writing a range to the disk, without waiting for it.
void start_writeback(int fd, uint64_t offset, uint64_t len_bytes);
/// read(2); 0 is the end of the file.
Result<size_t> read_some(int fd, std::span<std::byte> to, const std::string& what);
/// flock(2) with LOCK_NB; `operation` is LOCK_SH or LOCK_EX. False where another one excludes it.
Result<bool> try_flock(int fd, int operation);
/// openat2(2): the folder `name` directly in the folder `parent`, no symbolic link and nothing mounted there.
Result<Fd> open_subfolder(int parent, const char* name);
/// openat2(2): `path` below the folder `folder`, and no symbolic link on the way or at its end.
Result<Fd> open_beneath(int folder, const std::string& path, int flags, mode_t mode = 0);
/// mkdirat(2); what is there already is success.
Result<> make_subfolder(int parent, const char* name, mode_t mode);

}  // namespace lambdo::sys
