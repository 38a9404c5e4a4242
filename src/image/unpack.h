#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "image/async_semaphore.h"
#include "image/image_limits.h"
#include "image/layers/layer.h"
#include "image/layers/metadata_budget.h"
#include "image/layers/spool.h"
#include "image/layers/tree.h"
#include "image/progress.h"
#include "image/store/store.h"
#include "image/store/temporary.h"
#include "image/writers/initramfs.h"
#include "image/writers/rootfs.h"
#include "reactor/blocking_pool.h"
#include "reactor/cancel.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::image {

using reactor::CancelToken;
using reactor::Task;

/// One image on its way from blobs in the store to a root file system or a boot archive. Its layers are read
/// in any order and at the same time, and laid over each other as soon as all below are there. What is known
/// of them in memory has one budget, and none is read that is far above the lowest that is missing.
///
///   Unpacking unpacking(reactor, pool, store, unpacks, layers, limits, progress);
///   CO_TRY(co_await unpacking.begin());
///   ... add() for every layer ...
///   auto path = co_await unpacking.make_rootfs(digest, token);
///   co_await unpacking.end();
class Unpacking {
 public:
  /// All outlive it; `progress` may be null. `unpacks` bounds the layers that are unpacked at once.
  Unpacking(reactor::Reactor& reactor, reactor::BlockingPool& pool, Store& store, Semaphore& unpacks,
            size_t layers, const ImageLimits& limits, Progress* progress);
  /// `end` must have returned where `begin` was called.
  ~Unpacking();
  Unpacking(const Unpacking&) = delete;
  Unpacking& operator=(const Unpacking&) = delete;

  Task<Result<>> begin();
  /// Reads the layer's blob, which is in the store. Once for each index, from 0 on the lowest. Where the blob
  /// turns out to be damaged: store_invalid, it is moved away, and `add` may be called for it again. Waits
  /// until the layer is among the kReadAhead lowest that are not in the tree.
  Task<Result<>> add(size_t index, const Descriptor& blob, const Digest& diff_id, CancelToken token);
  /// After all layers. Only one of the three, once.
  Task<Result<std::string>> make_rootfs(const Digest& manifest, CancelToken token);
  Task<Result<std::string>> make_initramfs(const Digest& manifest, std::string key,
                                           const InitramfsOptions& options, CancelToken token);
  /// To the start of `file`, which outlives this; for what shall not be in the store.
  Task<Result<InitramfsReport>> write_initramfs(int file, const InitramfsOptions& options, CancelToken token);
  /// Removes what is temporary, whatever happened before.
  Task<> end();

  static constexpr size_t kReadAhead = 8;

 private:
  Task<Result<Layer>> read(const Descriptor& blob, const Digest& diff_id, CancelToken token);
  Task<Result<>> apply_ready(CancelToken token);
  [[nodiscard]] bool all_applied() const { return next_ == layers_.size(); }

  reactor::BlockingPool* pool_;
  Store* store_;
  Semaphore* unpacks_;
  ImageLimits limits_;
  Progress* progress_;
  std::optional<TemporaryFolder> folder_;
  std::unique_ptr<Spool> spool_;
  std::shared_ptr<MetadataBudget> budget_;
  Tree tree_;
  std::vector<std::optional<Layer>> layers_;  ///< read, but not yet in the tree
  size_t next_ = 0;                           ///< the lowest that is not in the tree
  bool applying_ = false;
  bool broken_ = false;
  reactor::Event moved_on_;  ///< next_ grew
  uint64_t unpacked_bytes_ = 0;
};

}  // namespace lambdo::image
