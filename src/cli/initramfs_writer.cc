#include "cli/initramfs_writer.h"

#include <sys/types.h>

#include <utility>

#include "base/log.h"
#include "image/output_file.h"
#include "image/spool.h"
#include "image/stop_flag.h"
#include "image/stored_layer.h"
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
  auto file = TRY(image::OutputFile::create(path));
  const image::TemporaryFolder folder = TRY(store.make_temporary_folder());
  image::Spool::Limits spool_limits;
  spool_limits.bytes = limits.max_unpacked_bytes;
  const auto spool = TRY(image::Spool::create(folder.path() + "/spool", spool_limits));
  const auto budget = std::make_shared<image::MetadataBudget>(
      image::MetadataBudget::Limits{.entries = limits.max_entries, .bytes = limits.max_metadata_bytes});
  image::Tree tree({.entries = limits.max_entries}, budget);
  for (size_t i = 0; i < image.manifest.layers.size(); ++i) {
    const image::Layer layer = TRY(image::read_stored_layer(
        store, image.manifest.layers[i], image.config.diff_ids[i], *spool, limits, *budget, stop));
    TRY(tree.apply(layer, stop));
  }
  const auto report = TRY(image::write_initramfs(tree, *spool, options, file.fd(), stop));
  if (report.skipped_xattrs > 0) {
    log::warning("an initramfs has no place for extended attributes; those of the image are not in it",
                 {{"file", path}, {"attributes", report.skipped_xattrs}});
  }
  constexpr mode_t kMode = 0644;
  return file.commit(kMode);
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
