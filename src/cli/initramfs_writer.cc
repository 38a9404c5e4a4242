#include "cli/initramfs_writer.h"

#include <sys/stat.h>

#include <utility>

#include "base/files.h"
#include "image/layer.h"
#include "image/spool.h"
#include "image/stop_flag.h"
#include "image/temporary.h"
#include "image/tree.h"

namespace lambdo::cli {

image::InitramfsRequest store_initramfs() {
  return {.key = "plain", .options = {}};
}

/// Blocks.
static Result<> write_initramfs(image::Store& store, const image::ImageLimits& limits,
                                const image::LocalImage& image, const image::InitramfsOptions& options,
                                const std::string& path, const std::atomic<bool>& stop) {
  const image::TemporaryFolder folder = TRY(store.make_temporary_folder());
  image::Spool::Limits spool_limits;
  spool_limits.bytes = limits.max_unpacked_bytes;
  const auto spool = TRY(image::Spool::create(folder.path() + "/spool", spool_limits));
  image::LayerLimits layer_limits;
  layer_limits.unpacked_bytes = limits.max_unpacked_bytes;
  image::Tree tree;
  for (size_t i = 0; i < image.manifest.layers.size(); ++i) {
    const image::Descriptor& blob = image.manifest.layers[i];
    const Fd fd = TRY(store.open_blob(blob));
    auto layer = image::read_layer({.read = image::read_blob_from(fd.get()),
                                    .media_type = blob.media_type,
                                    .diff_id = image.config.diff_ids[i]},
                                   *spool, layer_limits, stop);
    if (!layer) return std::unexpected(std::move(layer).error().with_context("layer " + blob.digest.text()));
    TRY(tree.apply(*layer, stop));
  }
  auto file = TRY(image::TemporaryFile::create(path + ".part"));
  TRY(image::write_initramfs(tree, *spool, options, file.fd(), stop));
  constexpr mode_t kMode = 0644;
  if (::fchmod(file.fd(), kMode) < 0) return fail_errno("fchmod " + file.path());
  TRY(sys::fsync(file.fd(), file.path()));
  TRY(sys::rename(file.path(), path));
  file.forget();
  return {};
}

image::Task<Result<>> write_image_initramfs(ImageServices& services, const image::LocalImage& image,
                                            const image::InitramfsOptions& options, std::string path,
                                            image::CancelToken token) {
  if (path.empty()) co_return fail(Code::invalid_argument, "the file's name is missing");
  const image::StopFlag stop(token);
  const auto work = [&] {
    return write_initramfs(services.store(), services.limits(), image, options, path, stop.flag());
  };
  co_return co_await services.pool().run(work);
}

}  // namespace lambdo::cli
