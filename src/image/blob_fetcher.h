#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "base/error.h"
#include "image/async_semaphore.h"
#include "image/store/store.h"
#include "reactor/blocking_pool.h"
#include "reactor/cancel.h"
#include "reactor/reactor.h"
#include "reactor/task.h"
#include "registry/client.h"
#include "registry/reference.h"

namespace lambdo::image {

using reactor::CancelToken;
using reactor::Task;
using registry::Reference;

/// Waits for a lock of the store that may be another process's for long (Store::try_lock).
Task<Result<FileLock>> wait_for_lock(reactor::Reactor& reactor, reactor::BlockingPool& pool, Store& store,
                                     std::string what, CancelToken token);
/// Gives one back on the pool's threads: to unlock and to remove a file may take as long as the disk likes.
Task<> release(reactor::BlockingPool& pool, FileLock lock);

/// Brings blobs from registries into a store, each once, whoever wants it.
class BlobFetcher {
 public:
  /// Told how many bytes have come; on the reactor's thread.
  using Told = std::function<void(uint64_t done_bytes)>;
  static constexpr size_t kHosts = 4;

  /// `max_downloads` come at once from one host of references, and kHosts times as many in all: a registry
  /// that is slow keeps nobody from another one. All outlive it; no `ensure` may be running when it is
  /// destroyed.
  BlobFetcher(reactor::Reactor& reactor, reactor::BlockingPool& pool, registry::Client& client, Store& store,
              size_t max_downloads);

  /// Whether it had to be fetched; false where the store has it, or somebody else has put it there meanwhile.
  /// A download that fails or is cancelled leaves nothing.
  Task<Result<bool>> ensure(Reference reference, Descriptor blob, Told told, CancelToken token);

 private:
  Task<Result<bool>> ensure_locked(Reference reference, const Descriptor& blob, Told told, CancelToken token);
  Task<Result<>> fetch(Reference reference, const Descriptor& blob, Told told, CancelToken token);
  Task<bool> has(const Descriptor& blob);

  reactor::Reactor* reactor_;
  reactor::BlockingPool* pool_;
  registry::Client* client_;
  Store* store_;
  KeyedSemaphore blobs_;
  KeyedSemaphore downloads_of_host_;
  Semaphore downloads_;
};

}  // namespace lambdo::image
