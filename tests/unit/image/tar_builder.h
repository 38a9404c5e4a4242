#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lambdo::image::fixture {

/// An entry as the test wants it in the archive, sensible or not.
struct TarEntry {
  std::string name;
  char type = '0';  ///< '0' file, '1' hard link, '2' symlink, '3' and '4' devices, '5' folder, '6' fifo
  std::string content;
  std::string link;
  uint32_t mode = 0644;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime = 1'500'000'000;
  uint32_t major = 0;
  uint32_t minor = 0;
  std::vector<std::pair<std::string, std::string>> pax;  ///< of the entry's extended header
};

TarEntry file(std::string name, std::string content = "content", uint32_t mode = 0644);
TarEntry folder(std::string name, uint32_t mode = 0755);
TarEntry symlink(std::string name, std::string target);
TarEntry hard_link(std::string name, std::string target);

/// A ustar archive; names and targets that do not fit into its fields go into extended headers (POSIX pax).
std::string tar(const std::vector<TarEntry>& entries, bool has_end = true);
/// One header block with a right checksum, and the content padded behind it.
std::string tar_member(const TarEntry& entry, uint64_t size_bytes);

std::string gzip(std::string_view content);
std::string zstd(std::string_view content);
/// As `zstd --long=LOG` (0: without) and `zstd --ultra -LEVEL` write what comes through a pipe: how much it
/// is nobody knows.
std::string zstd_stream(std::string_view content, int window_log, int level = 1);

}  // namespace lambdo::image::fixture
