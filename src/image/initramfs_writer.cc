#include "image/initramfs_writer.h"

#include <sys/types.h>

#include <utility>

#include "base/log.h"
#include "image/async_semaphore.h"
#include "image/unpack.h"
#include "image/writers/output_file.h"

namespace lambdo::image {

InitramfsRequest store_initramfs() {
  return {.key = "plain", .options = {}};
}

/// Lays the layers, which are in the store, over each other and writes the whole to `file`.
static Task<Result<InitramfsReport>> unpack_into(Unpacking& unpacking, const LocalImage& image,
                                                 const InitramfsOptions& options, int file,
                                                 CancelToken token) {
  CO_TRY(co_await unpacking.begin());
  for (size_t i = 0; i < image.manifest.layers.size(); ++i) {
    CO_TRY(co_await unpacking.add(i, image.manifest.layers[i], image.config.diff_ids[i], token));
  }
  co_return co_await unpacking.write_initramfs(file, options, token);
}

Task<Result<>> write_image_initramfs(ImageServices& services, const LocalImage& image,
                                     const InitramfsOptions& options, std::string path, CancelToken token) {
  if (path.empty()) co_return fail(Code::invalid_argument, "the file's name is missing");
  auto file = CO_TRY(co_await services.pool().run([&path] { return OutputFile::create(path); }));
  Semaphore unpacks(services.reactor(), 1);
  Unpacking unpacking(services.reactor(), services.pool(), services.store(), unpacks,
                      image.manifest.layers.size(), services.limits(), nullptr);
  const auto report = co_await unpack_into(unpacking, image, options, file.fd(), token);
  co_await unpacking.end();
  if (!report) co_return std::unexpected(report.error());
  if (report->skipped_xattrs > 0) {
    log::warning("an initramfs has no place for extended attributes; those of the image are not in it",
                 {{"file", path}, {"attributes", report->skipped_xattrs}});
  }
  constexpr mode_t kMode = 0644;
  co_return co_await services.pool().run([&file] { return file.commit(kMode); });
}

}  // namespace lambdo::image
