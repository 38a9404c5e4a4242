#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

/// System calls that do not go through the ring, wrapped once: EINTR is retried, descriptors are owned and
/// close-on-exec, an error names the call and its object. All may block: on the reactor only where the object
/// is local and memory-backed.
namespace lambdo::sys {

/// open(2) with O_CLOEXEC added.
Result<Fd> open(const std::string& path, int flags, mode_t mode = 0);
/// pipe2(2): first the reading, second the writing end.
Result<std::pair<Fd, Fd>> pipe(int flags = 0);
/// socketpair(2) on AF_UNIX; `type` SOCK_STREAM or SOCK_SEQPACKET, flags such as SOCK_NONBLOCK may be added.
Result<std::pair<Fd, Fd>> socketpair(int type);
/// sendmsg(2) and recvmsg(2) that never wait: how many bytes went, or nullopt where none can go now. At most
/// IOV_MAX parts. Without SIGPIPE; receiving 0 is the end of the stream.
Result<std::optional<size_t>> send_now(int socket, std::span<const iovec> parts);
Result<std::optional<size_t>> receive_now(int socket, std::span<const iovec> parts);
/// readv(2) on a descriptor with O_NONBLOCK: how many bytes came, or nullopt where there is nothing now. At
/// most IOV_MAX parts.
Result<std::optional<size_t>> read_now(int fd, std::span<const iovec> parts);
Result<Fd> eventfd(unsigned initial, int flags = 0);
/// memfd_create(2) with MFD_CLOEXEC.
Result<Fd> memfd(const char* name, unsigned flags = 0);
/// pidfd_open(2).
Result<Fd> pidfd_open(pid_t pid);
/// pidfd_send_signal(2). ESRCH is success: the process is gone, which is what a signal's sender wanted.
Result<> pidfd_signal(int pidfd, int signal);
Result<Fd> dup(int fd);

/// The whole file, at most `max_bytes` (payload_too_large beyond).
Result<std::string> read_file(const std::string& path, size_t max_bytes = 16 << 20);
/// Writes to an existing file (a cgroup or proc control file), in one write(2).
Result<> write_file(const std::string& path, std::string_view content);
/// Writes all of `content` to a blocking descriptor.
Result<> write_all(int fd, std::string_view content);
Result<> mkdir(const std::string& path, mode_t mode);
/// Like `mkdir -p`.
Result<> mkdirs(const std::string& path, mode_t mode);
/// The entries of a directory without "." and "..", sorted.
Result<std::vector<std::string>> list_directory(const std::string& path);
bool exists(const std::string& path);

/// Fills `to` from getrandom(2), never waiting: an error where the kernel's pool is not initialised yet.
Result<> random_bytes(std::span<std::byte> to);

/// CLOCK_MONOTONIC in nanoseconds.
long long monotonic_ns();

}  // namespace lambdo::sys
