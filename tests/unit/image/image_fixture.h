#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "image/layers/layer.h"
#include "image/layers/spool.h"
#include "image/layers/tree.h"
#include "image/store/temporary.h"
#include "image/writers/rootfs.h"
#include "registry/manifest.h"
#include "tar_builder.h"

namespace lambdo::image::fixture {

/// Bytes as a blob that comes in pieces of at most `piece_bytes`. `bytes` outlives it.
ReadBlob read_blob(std::string_view bytes, size_t piece_bytes = 64 << 10);

/// A folder of the test's own, with a spool.
class Workshop {
 public:
  Workshop();

  [[nodiscard]] const std::string& path() const { return folder_.path(); }
  [[nodiscard]] Spool& spool() { return *spool_; }
  void new_spool(const Spool::Limits& limits);

  Result<Layer> read(std::string_view blob, std::string_view media_type = registry::media_type::kOciLayer,
                     const LayerLimits& limits = {}, size_t piece_bytes = 64 << 10);
  /// Plain archives, the lowest first, as one tree.
  Result<Tree> merge(const std::vector<std::string>& archives);
  /// The same, written below path()/`name`.
  Result<RootfsReport> unpack(const std::vector<std::string>& archives, const std::string& name = "rootfs");
  Result<RootfsReport> write(const Tree& tree, const std::string& name);

  std::atomic<bool> stop = false;

 private:
  TemporaryFolder folder_;
  int spools_ = 0;
  std::unique_ptr<Spool> spool_;
};

/// All that is below a folder, each path with a line that says everything about it: type, mode, owner, time,
/// target or device number or the content's hash, attributes, and the first of its hard links. The folder
/// itself is ".".
using Description = std::map<std::string, std::string>;
enum class Times { all, none };
Description describe(const std::string& folder, Times times = Times::all);
/// One of its lines without the time.
std::string without_time(const std::string& line);
/// The lines that differ, for a message; empty where none does.
std::string difference(const Description& ours, const Description& theirs);

/// Runs a program without a shell; its exit status.
int run(const std::vector<std::string>& command, const std::string& output = "/dev/null");
bool is_root();

/// An OCI image layout at `path` with the image "t" of these plain archives, for tools to unpack.
void write_oci_layout(const std::string& path, const std::vector<std::string>& archives);

}  // namespace lambdo::image::fixture
