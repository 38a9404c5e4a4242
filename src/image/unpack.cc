#include "image/unpack.h"

#include <fcntl.h>

#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "image/layers/stored_layer.h"
#include "image/stop_flag.h"

namespace lambdo::image {

namespace {

/// Owners and devices are left out of nearly every image, because a server gives its privileges up first, and
/// guests do without: that is for those who look for it. Attributes are rare, and may be missed.
void tell(const Digest& manifest, const RootfsReport& report) {
  if (report.skipped_devices + report.skipped_owners + report.skipped_xattrs == 0) return;
  (report.skipped_xattrs > 0 ? log::info : log::debug)(
      "an image was unpacked without some device nodes, owners or extended attributes, which the process or "
      "the file system may not set",
      {{"image", manifest.text()},
       {"devices", report.skipped_devices},
       {"owners", report.skipped_owners},
       {"attributes", report.skipped_xattrs}});
}

void tell(const Digest& manifest, const InitramfsReport& report) {
  if (report.skipped_xattrs == 0) return;
  log::info("an initramfs has no place for extended attributes; those of the image are not in it",
            {{"image", manifest.text()}, {"attributes", report.skipped_xattrs}});
}

}  // namespace

Unpacking::Unpacking(reactor::Reactor& reactor, reactor::BlockingPool& pool, Store& store, Semaphore& unpacks,
                     size_t layers, const ImageLimits& limits, Progress* progress)
    : pool_(&pool),
      store_(&store),
      unpacks_(&unpacks),
      limits_(limits),
      progress_(progress),
      budget_(std::make_shared<MetadataBudget>(
          MetadataBudget::Limits{.entries = limits.max_entries, .bytes = limits.max_metadata_bytes})),
      tree_(TreeLimits{.entries = limits.max_entries}, budget_),
      layers_(layers),
      moved_on_(reactor) {}

Unpacking::~Unpacking() {
  CHECK(!folder_ && !spool_);
}

Task<Result<>> Unpacking::begin() {
  CHECK(!folder_);
  co_return co_await pool_->run([this]() -> Result<> {
    folder_ = TRY(store_->make_temporary_folder());
    Spool::Limits limits;
    limits.bytes = limits_.max_unpacked_bytes;
    spool_ = TRY(Spool::create(folder_->path() + "/spool", limits));
    return {};
  });
}

Task<Result<>> Unpacking::add(size_t index, const Descriptor& blob, const Digest& diff_id,
                              CancelToken token) {
  CHECK(index < layers_.size() && !layers_[index]);
  // Before it has a permit: one of the layers below may need it.
  while (index >= next_ + kReadAhead) CO_TRY(co_await moved_on_.wait(token));
  {
    const auto permit = CO_TRY(co_await unpacks_->take(token));
    if (progress_ != nullptr) progress_->layer(index, LayerPhase::unpacking, 0, 0);
    layers_[index] = CO_TRY(co_await read(blob, diff_id, token));
  }
  unpacked_bytes_ += layers_[index]->unpacked_bytes();
  if (unpacked_bytes_ > limits_.max_unpacked_bytes) {
    co_return fail(Code::image_too_large, "the image's layers have more than " +
                                              std::to_string(limits_.max_unpacked_bytes) +
                                              " bytes when they are unpacked");
  }
  if (progress_ != nullptr) progress_->layer(index, LayerPhase::unpacked, 0, 0);
  co_return co_await apply_ready(token);
}

Task<Result<Layer>> Unpacking::read(const Descriptor& blob, const Digest& diff_id, CancelToken token) {
  const StopFlag stop(token);
  auto layer = co_await pool_->run(
      [&] { return read_stored_layer(*store_, blob, diff_id, *spool_, limits_, *budget_, stop.flag()); });
  // The spool is in the store: whose disk is full is told.
  if (!layer && layer.error().code == Code::resource_exhausted) {
    co_return std::unexpected(std::move(layer).error().with_context(store_->folder()));
  }
  co_return layer;
}

/// Lays what is there over the tree, in order. Whoever brings the layer that others wait for does it for
/// them, and for those that come meanwhile.
Task<Result<>> Unpacking::apply_ready(CancelToken token) {
  if (applying_ || broken_) co_return Result<>();
  applying_ = true;
  const StopFlag stop(token);
  Result<> applied;
  while (next_ < layers_.size() && layers_[next_]) {
    applied = co_await pool_->run([&]() -> Result<> {
      TRY(tree_.apply(*layers_[next_], stop.flag()));
      layers_[next_].reset();
      return {};
    });
    if (!applied) break;
    ++next_;
    moved_on_.notify_all();
  }
  applying_ = false;
  // The tree is of no use then, and whoever did it tells why.
  broken_ = !applied;
  co_return applied;
}

Task<Result<std::string>> Unpacking::make_rootfs(const Digest& manifest, CancelToken token) {
  CHECK(all_applied());
  if (progress_ != nullptr) progress_->writing();
  const StopFlag stop(token);
  co_return co_await pool_->run([&]() -> Result<std::string> {
    const std::string target = folder_->path() + "/rootfs";
    TRY(sys::mkdir(target, 0700));
    const Fd fd = TRY(sys::open(target, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    const uint64_t bytes = tree_.content_bytes();
    auto written = write_rootfs(tree_, *spool_, fd.get(), stop.flag());
    if (!written) return std::unexpected(std::move(written).error().with_context(store_->folder()));
    tell(manifest, *written);
    spool_.reset();
    return store_->keep_rootfs(*std::exchange(folder_, {}), manifest, bytes);
  });
}

Task<Result<std::string>> Unpacking::make_initramfs(const Digest& manifest, std::string key,
                                                    const InitramfsOptions& options, CancelToken token) {
  CHECK(all_applied());
  if (progress_ != nullptr) progress_->writing();
  const StopFlag stop(token);
  co_return co_await pool_->run([&]() -> Result<std::string> {
    auto file = TRY(store_->new_initramfs());
    auto written = image::write_initramfs(tree_, *spool_, options, file.fd(), stop.flag());
    if (!written) return std::unexpected(std::move(written).error().with_context(store_->folder()));
    tell(manifest, *written);
    return store_->keep_initramfs(std::move(file), manifest, key);
  });
}

Task<Result<InitramfsReport>> Unpacking::write_initramfs(int file, const InitramfsOptions& options,
                                                         CancelToken token) {
  CHECK(all_applied());
  const StopFlag stop(token);
  co_return co_await pool_->run(
      [&] { return image::write_initramfs(tree_, *spool_, options, file, stop.flag()); });
}

Task<> Unpacking::end() {
  co_await pool_->run([this] {
    spool_.reset();
    folder_.reset();
    layers_.clear();
    tree_ = Tree();
  });
}

}  // namespace lambdo::image
